//! paho-mqtt and aiomqtt (Python) and MQTT.js (Node.js): one test per scenario of each script beside this file.

use crate::program::run_script;
use crate::support::Broker;

/// A door for each transport; figures of their own, so that a script can run into the limits.
const CONFIG: &str = "[[listeners]]\nname = 'tcp'\nurl = 'tcp://127.0.0.1:0'\n\
    [[listeners]]\nname = 'websocket'\nurl = 'ws://127.0.0.1:0/mqtt'\n\
    [[queues]]\nname = 'jobs'\nbind = ['jobs/#']\nack_timeout = '4s'\nbackoff = ['50ms']\nmax_deliveries = 0\n";

fn run(script: &str, scenario: &str) {
    let broker = Broker::with_config(CONFIG);
    let port = |listener| broker.listener(listener).port().to_string();
    run_script(script, &[scenario, &port("tcp"), &port("websocket")]);
}

macro_rules! scenarios {
    ($script:literal: $($scenario:ident)*) => {
        $(#[test]
        fn $scenario() {
            super::run($script, stringify!($scenario));
        })*
    };
}

mod paho {
    scenarios!("paho_mqtt.py": round_trips persistent_session take_over wills retained properties manual_ack receive_maximum
        shared_subscription websocket refusals
        work_queue);
}

mod aiomqtt {
    scenarios!("aiomqtt_many.py": many_clients everyone_hears_everyone);
}

mod mqttjs {
    scenarios!("mqttjs.mjs": round_trips persistent_session exactly_once_over_cuts wills retained properties topic_aliases
        shared_subscription take_over work_queue);
}
