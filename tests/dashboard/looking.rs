//! What is shown, to whom, and how.

use dunlin::packet::{Connect, QoS};

use crate::house::{CONFIG, MARKUP, broker_at, browse, dead_letter, free_address, furnish, look, named};
use crate::program::Program;
use crate::support::client::V5;
use crate::support::{Broker, Client};

#[test]
fn each_page_shows_what_there_is() {
    // Nobody listens there.
    let bridge = "[[bridges]]\nname = 'elsewhere'\nurls = ['tcp://127.0.0.1:9']\n[[bridges.topics]]\nfilter = 'out/#'\n";
    let broker = Broker::with_config(&format!("{CONFIG}{bridge}"));
    let _furniture = furnish(&broker);
    look(&broker, "pages", &[]);
}

#[test]
fn a_broker_with_nothing_says_so() {
    let broker = Broker::start();
    look(&broker, "nothing", &[]);
}

#[test]
fn what_clients_choose_stays_text() {
    let broker = Broker::with_config(CONFIG);
    let address = broker.listener("tcp");
    let mut evil = Client::connect_with(address, Connect { username: Some(MARKUP), ..named(MARKUP) }).0;
    evil.subscribe(&format!("{MARKUP}/#"), QoS::AtMostOnce);
    evil.retain(&format!("evil/{MARKUP}"), MARKUP);
    let _worker = dead_letter(&broker, &mut evil, &format!("orders/{MARKUP}"), MARKUP);
    look(&broker, "text", &[MARKUP]);
}

#[test]
fn many_clients_come_in_pages() {
    let broker = Broker::with_config(CONFIG);
    let mut clients: Vec<_> =
        (0..120).map(|n| Client::connect(broker.listener("tcp"), V5, &format!("sensor-{n:03}"))).collect();
    clients[77].subscribe("a", QoS::AtMostOnce);
    look(&broker, "many", &[]);
}

#[test]
fn all_of_it_fits_on_a_phone() {
    let broker = Broker::with_config(CONFIG);
    let _furniture = furnish(&broker);
    let long = "a-client-identifier-without-any-place-to-break-it/".repeat(4);
    let _long = Client::connect(broker.listener("tcp"), V5, &long);
    look(&broker, "narrow", &[&long]);
}

#[test]
fn light_and_dark_follow_the_system_and_the_switch() {
    look(&Broker::start(), "theme", &[]);
}

#[test]
fn all_of_it_works_by_keyboard() {
    let broker = Broker::with_config(CONFIG);
    let _furniture = furnish(&broker);
    look(&broker, "keyboard", &[]);
}

#[test]
fn a_broker_that_goes_away_is_told_and_so_is_its_return() {
    let (mut broker, _folder) = broker_at(free_address(), CONFIG);
    let Some(mut command) = browse(&broker, "lost", &[]) else { return };
    let mut page = Program::start(&mut command);
    page.expect_line("connected");
    broker.signal("-KILL");
    page.expect_line("lost");
    broker.kill_and_restart();
    page.expect_line("back");
    page.succeed();
}
