//! One run of a scenario from beginning to end.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::codec::SessionWish;
use super::crew::Crew;
use super::descriptors;
use super::lead::Lead;
use super::plan;
use super::report::{Report, Setup, Unit};
use super::settings::{Scenario, Settings};
use super::tally::Figure;
use super::worker::Group;

/// Time for the broker to notice that clients are gone.
const SETTLE: Duration = Duration::from_millis(300);

/// Runs a scenario; `name` is what it is called on the command line. It ends early, and tells what it has, once `interrupted`.
///
/// # Errors
/// If the broker cannot be reached, or lets nobody in.
pub fn run(
    name: &str,
    scenario: &Scenario,
    settings: &Settings,
    is_quiet: bool,
    interrupted: &AtomicBool,
) -> Result<Report, String> {
    let run = rand::random();
    let clients = plan::plan(scenario, settings, run);
    descriptors::make_room_for(clients.len())?;
    let settings = &with_sources(settings, clients.len());
    let crew = Crew::start(settings, &clients, run)?;
    let setup = Setup::new(settings, clients.len());
    drop(clients);
    let mut lead = Lead::new(crew, settings, is_quiet, interrupted);
    let done = perform(&mut lead, scenario);
    // The crew is told to go home whatever came of it; if it failed, that is why nothing came of it.
    let findings = lead.finish()?;
    done?;
    Ok(Report {
        scenario: name.into(),
        setup,
        phases: findings.phases,
        messages: findings.messages,
        latency_us: findings.times.delivery.summary(),
        ack_latency_us: findings.times.ack.summary(),
        connect_latency_us: findings.times.connect.summary(),
        faults: findings.faults,
        problems: findings.problems,
    })
}

/// One address has some 28,000 ports for one destination; on loopback there are as many addresses as are wanted.
fn with_sources(settings: &Settings, clients: usize) -> Settings {
    const CONNECTIONS_EACH: usize = 20_000;
    let mut settings = settings.clone();
    let target = &mut settings.target;
    if target.sources.is_empty() && target.address.is_ipv4() && target.address.ip().is_loopback() && clients > CONNECTIONS_EACH
    {
        let address = |index: usize| std::net::Ipv4Addr::new(127, 0, 1 + (index / 250) as u8, 1 + (index % 250) as u8).into();
        target.sources = (0..=clients / CONNECTIONS_EACH).map(address).collect();
    }
    settings
}

fn perform(lead: &mut Lead<'_>, scenario: &Scenario) -> Result<(), String> {
    match scenario {
        Scenario::Publish { .. } => publish(lead),
        Scenario::Subscribe { .. } => subscribe(lead),
        Scenario::Connect { .. } => connect(lead),
        Scenario::Pairs { .. } | Scenario::All { .. } | Scenario::Consumers { backlog: 0, .. } => deliver(lead),
        Scenario::Consumers { backlog, .. } => consume_behind(lead, *backlog),
        Scenario::Retained { .. } => retained(lead),
        Scenario::Offline { .. } => offline(lead),
        Scenario::Wildcards { .. } => wildcards(lead),
    }
}

fn publish(lead: &mut Lead<'_>) -> Result<(), String> {
    lead.connect(Group::Publishers, SessionWish::Clean)?;
    lead.publish("publish", Unit::Messages)?;
    lead.disconnect(Group::Publishers);
    Ok(())
}

fn subscribe(lead: &mut Lead<'_>) -> Result<(), String> {
    lead.connect(Group::Others, session_wish(lead))?;
    lead.subscribe();
    lead.crew.measure_from(0);
    let before = lead.snapshot()?;
    let load = &lead.settings.load;
    lead.receive("receive", load.duration, load.limit);
    let after = lead.snapshot()?;
    lead.note_phase("receive", Unit::Deliveries, &before, &after);
    lead.disconnect(Group::Others);
    Ok(())
}

fn connect(lead: &mut Lead<'_>) -> Result<(), String> {
    let before = lead.snapshot()?;
    let waited = lead.connect(Group::Others, session_wish(lead))?;
    let connected = lead.snapshot_after(waited)?;
    lead.note_phase("connect", Unit::Connections, &before, &connected);
    if let Some(duration) = lead.settings.load.duration {
        let idle = lead.snapshot()?;
        lead.pause("idle", duration);
        let after = lead.snapshot()?;
        lead.note_idle(&idle, &after);
    }
    lead.disconnect(Group::Others);
    Ok(())
}

fn deliver(lead: &mut Lead<'_>) -> Result<(), String> {
    lead.connect(Group::Others, session_wish(lead))?;
    lead.subscribe();
    lead.connect(Group::Publishers, SessionWish::Clean)?;
    lead.publish("publish", Unit::Deliveries)?;
    lead.disconnect(Group::Others);
    lead.disconnect(Group::Publishers);
    forget_sessions(lead);
    Ok(())
}

/// Consumers come to what waits already, and find as much waiting all the time: publishers send as many as are taken.
fn consume_behind(lead: &mut Lead<'_>, backlog: u64) -> Result<(), String> {
    lead.connect(Group::Others, session_wish(lead))?;
    lead.subscribe();
    lead.disconnect(Group::Others);
    lead.pause("leave", SETTLE);
    lead.connect(Group::Publishers, SessionWish::Clean)?;
    lead.fill(backlog)?;
    lead.connect(Group::Others, session_wish(lead))?;
    lead.subscribe();
    lead.publish("publish", Unit::Deliveries)?;
    lead.disconnect(Group::Others);
    lead.disconnect(Group::Publishers);
    forget_sessions(lead);
    Ok(())
}

fn retained(lead: &mut Lead<'_>) -> Result<(), String> {
    lead.connect(Group::Publishers, SessionWish::Clean)?;
    lead.publish("store", Unit::Messages)?;
    lead.connect(Group::Others, SessionWish::Clean)?;
    let before = lead.snapshot()?;
    lead.subscribe();
    lead.also_expected = lead.crew.tally()[Figure::Sent] * lead.crew.others as u64;
    let waited = lead.await_deliveries("replay", lead.also_expected);
    let after = lead.snapshot_after(waited)?;
    lead.note_phase("replay", Unit::Deliveries, &before, &after);
    lead.disconnect(Group::Others);
    lead.clear()?;
    lead.disconnect(Group::Publishers);
    Ok(())
}

fn offline(lead: &mut Lead<'_>) -> Result<(), String> {
    lead.connect(Group::Others, SessionWish::Kept)?;
    lead.subscribe();
    lead.disconnect(Group::Others);
    lead.pause("leave", SETTLE);
    lead.connect(Group::Publishers, SessionWish::Clean)?;
    lead.publish("enqueue", Unit::Queued)?;
    lead.disconnect(Group::Publishers);
    let before = lead.snapshot()?;
    let resumed = lead.crew.tally()[Figure::Resumed];
    lead.connect(Group::Others, SessionWish::Kept)?;
    let expected = lead.crew.tally()[Figure::Expected];
    let waited = lead.await_deliveries("drain", expected);
    let after = lead.snapshot_after(waited)?;
    lead.note_phase("drain", Unit::Deliveries, &before, &after);
    let resumed = lead.crew.tally()[Figure::Resumed] - resumed;
    if resumed < lead.crew.others as u64 {
        lead.note_problem(format!("{} of {} sessions were not kept", lead.crew.others as u64 - resumed, lead.crew.others));
    }
    lead.disconnect(Group::Others);
    forget_sessions(lead);
    Ok(())
}

fn wildcards(lead: &mut Lead<'_>) -> Result<(), String> {
    lead.connect(Group::Others, SessionWish::Clean)?;
    let before = lead.snapshot()?;
    let waited = lead.subscribe();
    let after = lead.snapshot_after(waited)?;
    lead.note_phase("subscribe", Unit::Subscriptions, &before, &after);
    lead.connect(Group::Publishers, SessionWish::Clean)?;
    lead.publish("publish", Unit::Deliveries)?;
    lead.disconnect(Group::Others);
    lead.disconnect(Group::Publishers);
    Ok(())
}

const fn session_wish(lead: &Lead<'_>) -> SessionWish {
    if lead.settings.persistent { SessionWish::Kept } else { SessionWish::Clean }
}

/// If there are some that were to outlive their connections.
fn forget_sessions(lead: &mut Lead<'_>) {
    if lead.settings.persistent {
        lead.forget_sessions();
    }
}
