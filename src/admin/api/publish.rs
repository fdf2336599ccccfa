//! `/publish`: messages in the operator's name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::answer::{Answer, changed, ok, with};
use super::request::{JsonBody, JsonList, Params, object};
use super::{Api, Shared};
use crate::admin::problem::Problem;
use crate::broker::{Matched, Safe};
use crate::packet::{
    Decoder, Delivery, Message, OutgoingPublish, Packet, PacketId, Peer, ProtocolVersion, Publish, PublishProperties,
    PublishReason, TopicName, UserPropertiesBuf, encode, encode_publish,
};
use crate::session::{Answer as Refusal, Note};

/// Messages of one bulk.
const BULK_MAX: usize = 1000;
/// Bytes of a body: a packet of the largest size that is allowed by default, in base64, and more.
const BODY_MAX: usize = 2 << 20;
const BULK_BODY_MAX: usize = 8 << 20;

pub fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/publish", post(one).layer(DefaultBodyLimit::max(BODY_MAX)))
        .route("/publish/bulk", post(bulk).layer(DefaultBodyLimit::max(BULK_BODY_MAX)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    topic: String,
    payload: String,
    #[serde(default)]
    payload_encoding: Encoding,
    #[serde(default)]
    qos: u8,
    #[serde(default)]
    retain: bool,
    #[serde(default, deserialize_with = "object")]
    properties: PropertiesInfo,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    #[default]
    Plain,
    Base64,
}

/// The properties that a message hands on.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PropertiesInfo {
    /// 1: the payload is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_format_indicator: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_expiry_interval: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_topic: Option<String>,
    /// In base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    user_properties: BTreeMap<String, String>,
}

impl PropertiesInfo {
    /// Those of a message, if it has any. Of user properties with one name the last one is shown.
    pub fn of(message: &Message) -> Option<Self> {
        let view = message.view();
        if view.properties.is_empty() {
            return None;
        }
        let outgoing = OutgoingPublish {
            dup: false,
            retain: false,
            delivery: Delivery::AtMostOnce,
            message_expiry_interval: None,
            subscription_identifiers: &[],
            topic_alias: None,
        };
        let mut bytes = Vec::new();
        encode_publish(&view, &outgoing, ProtocolVersion::V5, &mut bytes).ok()?;
        let decoder = decoder(u32::MAX, usize::MAX, Peer::Server);
        let Ok(Some((Packet::Publish(publish), _))) = decoder.decode(&bytes) else { return None };
        let properties = &publish.properties;
        Some(Self {
            payload_format_indicator: properties.payload_format_indicator.map(u8::from),
            message_expiry_interval: None,
            response_topic: properties.response_topic.map(Into::into),
            correlation_data: properties.correlation_data.map(|data| STANDARD.encode(data)),
            content_type: properties.content_type.map(Into::into),
            user_properties: properties.user_properties.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        })
    }
}

#[derive(Debug, Serialize)]
struct Published {
    reason_code: u8,
    message: &'static str,
    /// Subscribers that it went to; a shared group counts as one.
    matched: usize,
}

impl Published {
    fn of(result: Result<Matched, Refusal>) -> Self {
        let reason = match result {
            Ok(Matched { count: 0, .. }) => PublishReason::NoMatchingSubscribers,
            Ok(_) => PublishReason::Success,
            Err(answer) => answer.reason,
        };
        let message = result.err().and_then(why).unwrap_or_else(|| reason.code().name());
        Self { reason_code: reason as u8, message, matched: result.map_or(0, |matched| matched.count) }
    }
}

async fn one(State(api): Shared, params: Params, JsonBody(request): JsonBody<Request>) -> Answer {
    params.finish()?;
    let ready = Ready::new(&request, &api).map_err(|error| error.of(""))?;
    let result = ready.publish(&api);
    let matched = match result {
        Ok((matched, safe)) => {
            kept(safe).await?;
            matched
        }
        Err(answer) => return Err(refused(answer)),
    };
    let status = if matched.count > 0 { StatusCode::OK } else { StatusCode::ACCEPTED };
    changed(with(status, &Published::of(Ok(matched))), format!("publish {}", ready.short_topic()))
}

/// All are looked at before the first is published.
async fn bulk(State(api): Shared, params: Params, JsonList(requests): JsonList<Request>) -> Answer {
    params.finish()?;
    if requests.len() > BULK_MAX {
        return Err(Problem::bad_request(format!("more than {BULK_MAX} messages")));
    }
    let ready = requests
        .iter()
        .enumerate()
        .map(|(place, request)| Ready::new(request, &api).map_err(|error| error.of(&format!("[{place}]."))));
    let ready: Vec<Ready> = ready.collect::<Result<_, _>>()?;
    let (mut published, mut waits) = (Vec::with_capacity(ready.len()), Vec::new());
    for ready in &ready {
        let result = ready.publish(&api);
        published.push(Published::of(result.as_ref().map(|(matched, _)| *matched).map_err(|answer| *answer)));
        waits.extend(result.ok().and_then(|(_, safe)| safe));
        tokio::task::coop::consume_budget().await;
    }
    for safe in waits {
        kept(Some(safe)).await?;
    }
    changed(ok(&published), format!("publish {} messages", published.len()))
}

/// Waits until what was done cannot be lost any more.
pub async fn kept(safe: Safe) -> Result<(), Problem> {
    let Some(safe) = safe else { return Ok(()) };
    safe.await.map_err(|_| {
        Problem::unavailable("STORAGE_FAILED", "the journal has failed, and it is not known whether this was kept")
    })
}

/// A message that was found right: as the PUBLISH packet that a client would have sent.
struct Ready {
    packet: Vec<u8>,
    topic: String,
    decoder: Decoder,
}

/// What is wrong with which field.
struct Wrong(&'static str, String);

impl Wrong {
    fn of(&self, place: &str) -> Problem {
        let message = format!("{place}{}: {}", self.0, self.1);
        if self.0 == "payload" && self.1 == TOO_LARGE { Problem::too_large(message) } else { Problem::bad_request(message) }
    }
}

const TOO_LARGE: &str = "the message would be larger than [limits] max_packet_size";

impl Ready {
    fn new(request: &Request, api: &Api) -> Result<Self, Wrong> {
        let wrong = |field, why: &str| Wrong(field, why.to_owned());
        let topic = TopicName::new(&request.topic).map_err(|error| wrong("topic", error.detail()))?;
        if topic.as_str().starts_with("$SYS/") {
            return Err(wrong("topic", "only the broker itself publishes under $SYS/"));
        }
        let limits = api.broker.limits();
        limits.check_topic(topic.as_str()).map_err(|limit| Wrong("topic", format!("it is over [limits] {}", limit.name())))?;
        let decoded = match request.payload_encoding {
            Encoding::Plain => None,
            Encoding::Base64 => Some(STANDARD.decode(&request.payload).map_err(|_| wrong("payload", "it is not base64"))?),
        };
        let payload = decoded.as_deref().unwrap_or(request.payload.as_bytes());
        let delivery = match request.qos {
            0 => Delivery::AtMostOnce,
            1 => Delivery::AtLeastOnce(PacketId::FIRST),
            2 => Delivery::ExactlyOnce(PacketId::FIRST),
            _ => return Err(wrong("qos", "it must be 0, 1 or 2")),
        };
        let size_max = u32::try_from(limits.max_packet_size.0).unwrap_or(u32::MAX);
        if payload.len() >= size_max as usize {
            return Err(wrong("payload", TOO_LARGE));
        }
        let given = &request.properties;
        let correlation_data = given.correlation_data.as_ref().map(|data| STANDARD.decode(data)).transpose();
        let correlation_data = correlation_data.map_err(|_| wrong("properties.correlation_data", "it is not base64"))?;
        let text_max = usize::from(u16::MAX);
        let mut user_properties = UserPropertiesBuf::default();
        for (name, value) in &given.user_properties {
            if name.len().max(value.len()) > text_max || name.contains('\0') || value.contains('\0') {
                return Err(wrong("properties.user_properties", "a name or value is too long or has a NUL"));
            }
            user_properties.push(name, value);
        }
        let texts = [("properties.response_topic", &given.response_topic), ("properties.content_type", &given.content_type)];
        if let Some((field, _)) = texts.into_iter().find(|(_, text)| text.as_ref().is_some_and(|text| text.len() > text_max)) {
            return Err(wrong(field, "it is longer than 65535 bytes"));
        }
        if correlation_data.as_ref().is_some_and(|data| data.len() > text_max) {
            return Err(wrong("properties.correlation_data", "it is longer than 65535 bytes"));
        }
        let properties = PublishProperties {
            payload_format_indicator: match given.payload_format_indicator {
                None => None,
                Some(indicator @ 0..=1) => Some(indicator == 1),
                Some(_) => return Err(wrong("properties.payload_format_indicator", "it must be 0 or 1")),
            },
            message_expiry_interval: given.message_expiry_interval,
            response_topic: given.response_topic.as_deref(),
            correlation_data: correlation_data.as_deref(),
            content_type: given.content_type.as_deref(),
            user_properties: user_properties.as_ref(),
            ..PublishProperties::default()
        };
        let publish = Publish { dup: false, retain: request.retain, delivery, topic: Some(topic), properties, payload };
        let mut packet = Vec::new();
        encode(&Packet::Publish(publish), ProtocolVersion::V5, &mut packet);
        // Read back as from a client: what a client may not send is refused in the same words.
        let decoder = decoder(size_max, limits.max_user_properties, Peer::Client);
        match decoder.decode(&packet) {
            Ok(Some((Packet::Publish(_), _))) => Ok(Self { packet, topic: request.topic.clone(), decoder }),
            Ok(_) => Err(wrong("payload", TOO_LARGE)),
            Err(error) if error.kind == crate::packet::Malformed::TooLarge => Err(wrong("payload", TOO_LARGE)),
            Err(error) => Err(wrong("properties", error.detail)),
        }
    }

    fn publish(&self, api: &Api) -> Result<(Matched, Safe), Refusal> {
        let Ok(Some((Packet::Publish(publish), _))) = self.decoder.decode(&self.packet) else {
            return Err(PublishReason::UnspecifiedError.into()); // it was read once before
        };
        let topic = TopicName::new(&self.topic).map_err(|_| Refusal::from(PublishReason::TopicNameInvalid))?;
        api.broker.publish_as_operator(&publish, topic, Instant::now())
    }

    fn short_topic(&self) -> String {
        self.topic.chars().take(128).collect()
    }
}

fn decoder(maximum_packet_size: u32, user_properties_max: usize, peer: Peer) -> Decoder {
    Decoder { version: Some(ProtocolVersion::V5), maximum_packet_size, user_properties_max, filters_max: 0, peer }
}

/// What the broker says besides the code.
fn why(answer: Refusal) -> Option<&'static str> {
    match answer.note {
        Note::Reason(why) => Some(why),
        Note::None | Note::Property(..) => None,
    }
}

fn refused(answer: Refusal) -> Problem {
    let why = why(answer);
    let name = why.unwrap_or_else(|| answer.reason.code().name());
    match answer.reason {
        PublishReason::QuotaExceeded => {
            Problem::unavailable("QUOTA_EXCEEDED", why.unwrap_or("there is no room for the message"))
        }
        PublishReason::TopicNameInvalid => Problem::bad_request(format!("topic: {name}")),
        PublishReason::ImplementationSpecificError => Problem::bad_request(name),
        _ => Problem::unavailable("NOT_PUBLISHED", name),
    }
}
