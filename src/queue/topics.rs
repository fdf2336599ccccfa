//! The topics and filters by which clients speak to queues, as values.

use std::time::Duration;

use super::name::{InvalidQueueName, QueueName};
use super::tag::{InvalidTag, Tag};
use crate::packet::{InvalidTopic, TopicFilter, TopicName};

/// The queue, or the one that holds its dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// `$queue/NAME`
    Main,
    /// `$dlq/NAME`
    Dead,
}

/// Which queue a topic names. The name is one that [`QueueName::new`] takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueRef<'a> {
    pub name: &'a str,
    pub part: Part,
}

/// What a PUBLISH to one of our topics asks for: `$delayed/…` and `$dedup/…`, each at most once and in any order, then where to.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishTopic<'a> {
    /// `$dedup/ID/TOPIC`
    pub dedup_id: Option<&'a str>,
    /// `$delayed/SECONDS/TOPIC`
    pub delay: Option<Duration>,
    pub target: Target<'a>,
}

/// Where a PUBLISH goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Target<'a> {
    /// An ordinary topic.
    Topic(TopicName<'a>),
    /// `$queue/NAME/$put/TOPIC`: into this queue alone. `whole` is all of that.
    Put { name: &'a str, topic: TopicName<'a>, whole: TopicName<'a> },
    /// The end, or another deadline, of a lease. Without a tag in the topic, the user property `q-tag` names it.
    Settle { queue: QueueRef<'a>, tag: Option<Tag>, settle: Settle },
}

/// What the holder of a lease says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// `$ack`: done.
    Ack,
    /// `$nack`: failed; again after this delay, or after the queue's backoff.
    Nack(Option<Duration>),
    /// `$reject`: to the dead letters at once.
    Reject,
    /// `$extend`: the deadline is so far from now.
    Extend(Duration),
}

/// What a SUBSCRIBE to one of our filters asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct SubscribeFilter<'a> {
    pub queue: QueueRef<'a>,
    pub form: Form,
}

/// How a consumer wants its messages.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// Under their own topics.
    Plain,
    /// The same; the queue may be made for it, bound to this filter.
    Bound(TopicFilter),
    /// `$lease/#`: under `$queue/NAME/$lease/TAG/TOPIC`.
    Lease,
}

/// Why a topic that begins like one of ours is none. The text is for a reason string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    #[error("{0}")]
    Name(#[from] InvalidQueueName),
    #[error("{0}")]
    Topic(#[from] InvalidTopic),
    #[error("{0}")]
    Tag(#[from] InvalidTag),
    #[error("not a whole number of seconds up to 4294967295")]
    Seconds,
    #[error("a deduplication identifier is 1 to 256 bytes")]
    DedupId,
    #[error("after this prefix comes an ordinary topic, or $queue/NAME/$put/TOPIC")]
    Inner,
    #[error("$delayed and $dedup may each stand there once")]
    Repeated,
    #[error("a queue is filled by $queue/NAME/$put/TOPIC, or by the topics it is bound to")]
    NoVerb,
    #[error("nothing can be put among the dead letters")]
    PutToDead,
    #[error("$extend needs a number of seconds")]
    NoSeconds,
    #[error("more levels than this topic has")]
    TooLong,
    #[error(
        "a consumer subscribes to $queue/NAME, $queue/NAME/FILTER or $queue/NAME/$lease/#, to $dlq/NAME or $dlq/NAME/$lease/#"
    )]
    NoFilter,
}

/// Bytes of the longest deduplication identifier.
pub const DEDUP_ID_MAX: usize = 256;

/// Reads a topic that is published to; `None`: it is an ordinary one.
pub fn parse_publish(topic: &str) -> Result<Option<PublishTopic<'_>>, TopicError> {
    let mut publish = PublishTopic { dedup_id: None, delay: None, target: Target::Topic(TopicName::new(topic)?) };
    let mut rest = topic;
    loop {
        let (first, inner) = split(rest);
        match first {
            "$delayed" => {
                let (number, inner) = split(inner);
                if publish.delay.replace(seconds(number)?).is_some() {
                    return Err(TopicError::Repeated);
                }
                rest = inner;
            }
            "$dedup" => {
                let (id, inner) = split(inner);
                if !(1..=DEDUP_ID_MAX).contains(&id.len()) {
                    return Err(TopicError::DedupId);
                }
                if publish.dedup_id.replace(id).is_some() {
                    return Err(TopicError::Repeated);
                }
                rest = inner;
            }
            _ => break,
        }
    }
    let has_prefix = publish.dedup_id.is_some() || publish.delay.is_some();
    publish.target = match parse_target(rest)? {
        Some(Target::Settle { .. }) if has_prefix => return Err(TopicError::Inner),
        Some(target) => target,
        None if !has_prefix => return Ok(None),
        None if rest.starts_with('$') || rest.is_empty() => return Err(TopicError::Inner),
        None => Target::Topic(TopicName::new(rest)?),
    };
    Ok(Some(publish))
}

/// Reads a filter that is subscribed to; `None`: it is an ordinary one.
pub fn parse_subscribe(filter: &str) -> Result<Option<SubscribeFilter<'_>>, TopicError> {
    let Some((queue, rest)) = parse_queue(filter)? else { return no_queue(filter) };
    let form = match (queue.part, rest) {
        (_, None) => Form::Plain,
        (_, Some("$lease/#")) => Form::Lease,
        (Part::Main, Some(rest)) if !rest.starts_with('$') => Form::Bound(TopicFilter::new(rest)?),
        _ => return Err(TopicError::NoFilter),
    };
    Ok(Some(SubscribeFilter { queue, form }))
}

/// Nobody subscribes to what is only published to, and a queue shares its work without `$share`.
fn no_queue(filter: &str) -> Result<Option<SubscribeFilter<'_>>, TopicError> {
    let shared = filter.strip_prefix("$share/").map_or("", |shared| split(split(shared).1).0);
    let is_ours =
        matches!(split(filter).0, "$delayed" | "$dedup") || matches!(shared, "$queue" | "$dlq" | "$delayed" | "$dedup");
    if is_ours { Err(TopicError::NoFilter) } else { Ok(None) }
}

/// The name of a queue and what follows it.
fn parse_queue(topic: &str) -> Result<Option<(QueueRef<'_>, Option<&str>)>, TopicError> {
    let (first, rest) = split(topic);
    let part = match first {
        "$queue" => Part::Main,
        "$dlq" => Part::Dead,
        _ => return Ok(None),
    };
    let (name, rest) = rest.split_once('/').map_or((rest, None), |(name, rest)| (name, Some(rest)));
    QueueName::check(name)?;
    Ok(Some((QueueRef { name, part }, rest)))
}

fn parse_target(topic: &str) -> Result<Option<Target<'_>>, TopicError> {
    let Some((queue, rest)) = parse_queue(topic)? else { return Ok(None) };
    let (verb, rest) = split(rest.ok_or(TopicError::NoVerb)?);
    if verb == "$put" {
        return match queue.part {
            Part::Main if rest.starts_with('$') => Err(TopicError::Inner),
            Part::Main => {
                let whole = TopicName::new(topic)?;
                Ok(Some(Target::Put { name: queue.name, topic: TopicName::new(rest)?, whole }))
            }
            Part::Dead => Err(TopicError::PutToDead),
        };
    }
    if !["$ack", "$nack", "$reject", "$extend"].contains(&verb) {
        return Err(TopicError::NoVerb);
    }
    let words = Words::parse(rest)?;
    let settle = match verb {
        "$ack" => words.without_number(Settle::Ack)?,
        "$reject" => words.without_number(Settle::Reject)?,
        "$nack" => Settle::Nack(words.number),
        _ => Settle::Extend(words.number.ok_or(TopicError::NoSeconds)?),
    };
    Ok(Some(Target::Settle { queue, tag: words.tag, settle }))
}

/// What follows a settling verb: `TAG`, `TAG/SECONDS`, `SECONDS` or nothing.
struct Words {
    tag: Option<Tag>,
    number: Option<Duration>,
}

impl Words {
    fn parse(rest: &str) -> Result<Self, TopicError> {
        let (first, second) = rest.split_once('/').map_or((rest, None), |(first, second)| (first, Some(second)));
        // The length tells a tag from a number: eleven digits are more than any number has.
        let is_number = second.is_none() && first.len() <= 10 && first.bytes().all(|byte| byte.is_ascii_digit());
        let (tag, number) = if is_number { ("", first) } else { (first, second.unwrap_or_default()) };
        if number.contains('/') {
            return Err(TopicError::TooLong);
        }
        Ok(Self {
            tag: if is_number { None } else { Some(tag.parse()?) },
            number: if number.is_empty() && second.is_none() { None } else { Some(seconds(number)?) },
        })
    }

    const fn without_number(&self, settle: Settle) -> Result<Settle, TopicError> {
        if self.number.is_some() { Err(TopicError::TooLong) } else { Ok(settle) }
    }
}

/// The first level and what follows its slash.
fn split(topic: &str) -> (&str, &str) {
    topic.split_once('/').unwrap_or((topic, ""))
}

fn seconds(text: &str) -> Result<Duration, TopicError> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: Option<u32> = if is_plain { text.parse().ok() } else { None };
    seconds.map(|seconds| Duration::from_secs(seconds.into())).ok_or(TopicError::Seconds)
}

/// The topic under which a consumer of [`Form::Lease`] gets a message.
pub fn lease_topic(queue: QueueRef<'_>, tag: Tag, topic: &str) -> String {
    let first = match queue.part {
        Part::Main => "$queue",
        Part::Dead => "$dlq",
    };
    format!("{first}/{}/$lease/{tag}/{topic}", queue.name)
}
