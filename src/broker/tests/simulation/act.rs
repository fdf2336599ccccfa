//! What devices do.

use super::*;

impl World {
    /// A device, or the time, does something.
    pub(super) fn act(&mut self) {
        let device = self.random.below(DEVICES);
        let (is_connected, is_welcome) = (self.devices[device].task.is_some(), self.devices[device].is_welcome);
        match self.random.below(40) {
            0..=4 if !is_connected => self.connect(device),
            5 => self.connect(device),
            6 => self.cut(device),
            7..=9 => self.pass(),
            10 if is_connected => self.stall(device),
            11 if is_connected => self.unstall(device),
            12 if is_welcome => self.goodbye(device),
            13 if is_welcome => {
                self.devices[device].silent_since.get_or_insert(self.house.now);
            }
            14..=17 if is_welcome => self.subscribe(device),
            18 if is_welcome => self.unsubscribe(device),
            19..=29 if is_welcome => self.publish(device),
            30..=38 if is_welcome => self.answer(device),
            39 if is_welcome => self.retain(device),
            _ => {}
        }
    }

    fn connect(&mut self, device: usize) {
        let random = &mut self.random;
        let version = random.pick(&[ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5, ProtocolVersion::V5]);
        let mut properties = ConnectProperties::default();
        if version == ProtocolVersion::V5 {
            properties.receive_maximum = random.pick(&[1, 2, 3, 65_535]);
            properties.session_expiry_interval = random.pick(&[0, 1, 5, 20, 400, u32::MAX]);
        }
        let will_payload = format!("{}", self.tasks.len());
        let will = random.one_in(2).then(|| Will {
            topic: TopicName::new("w").unwrap(),
            payload: will_payload.as_bytes(),
            qos: random.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]),
            retain: false,
            delay_interval: if version == ProtocolVersion::V5 { random.pick(&[0, 1, 7, 350]) } else { 0 },
            message_expiry_interval: None,
            properties: ForwardedProperties::default(),
        });
        let (clean_start, keep_alive, is_direct) = (random.one_in(3), random.pick(&[0, 10]), random.one_in(2));
        let request = Connect { clean_start, keep_alive, will, properties, ..connect(version) };
        self.dial(device, request, is_direct);
    }

    /// For good, without anything that could end the session.
    pub(super) fn come_back(&mut self, device: usize) {
        let properties = ConnectProperties { session_expiry_interval: u32::MAX, ..ConnectProperties::default() };
        let request = Connect { clean_start: false, properties, ..connect(ProtocolVersion::V5) };
        self.dial(device, request, true);
    }

    fn dial(&mut self, device: usize, request: Connect<'_>, is_direct: bool) {
        // One attempt at a time: a CONNECT that comes after a later one would take over what the device believes to have.
        if let Some(before) = self.devices[device].task.filter(|task| self.sessions[*task].is_none()) {
            self.lose(before);
        }
        let task = self.tasks.len();
        let of = &mut self.devices[device];
        of.connects(task, self.house.now);
        of.version = request.version;
        of.keep_alive = request.keep_alive;
        of.receive_maximum = usize::from(request.properties.receive_maximum.min(MAX_INFLIGHT));
        let bytes = of.encode(&Packet::Connect(Connect { client_id: &of.id, ..request }));
        self.tasks.push(Task::new(&self.house, device, request.version, is_direct));
        self.sessions.push(None);
        self.goodbyes.push(None);
        self.tasks[task].socket.set_room(usize::MAX);
        self.send(device, bytes);
    }

    pub(super) fn cut(&mut self, device: usize) {
        let Some(task) = self.devices[device].task else { return };
        self.devices[device].disconnected();
        self.lose(task);
    }

    pub(super) fn lose(&mut self, task: usize) {
        if self.tasks[task].state == TaskState::Open {
            self.tasks[task].lose(&self.house);
            self.closed(task);
        }
    }

    /// The broker has settled the end of a connection.
    pub(super) fn closed(&mut self, task: usize) {
        if let Some(session) = self.sessions[task] {
            self.truth.close(session, task, self.goodbyes[task], self.house.now);
        }
    }

    /// The device takes no more, or only so much.
    fn stall(&mut self, device: usize) {
        let room = self.random.pick(&[0, 0, 1, 10, 100]);
        let Device { task: Some(task), stuck_since, .. } = &mut self.devices[device] else { return };
        if room > 0 {
            *stuck_since = Some(self.house.now);
        }
        stuck_since.get_or_insert(self.house.now);
        if self.tasks[*task].socket.set_room(room) {
            self.tasks[*task].wake();
        }
    }

    pub(super) fn unstall(&mut self, device: usize) {
        let Device { task: Some(task), stuck_since, .. } = &mut self.devices[device] else { return };
        if self.tasks[*task].socket.set_room(usize::MAX) {
            self.tasks[*task].wake();
        }
        *stuck_since = None;
    }

    fn goodbye(&mut self, device: usize) {
        let (reason, has_will) = self
            .random
            .pick(&[(DisconnectReason::NormalDisconnection, false), (DisconnectReason::DisconnectWithWillMessage, true)]);
        let is_v5 = self.devices[device].version == ProtocolVersion::V5;
        let has_will = has_will && is_v5;
        let task = self.devices[device].task.unwrap();
        let had_expiry = self.sessions[task].is_some_and(|session| self.truth.sessions[session].has_expiry());
        let expiry = (is_v5 && had_expiry && self.random.one_in(3)).then(|| self.random.pick(&[0, 3, 30]));
        let bytes = self.devices[device]
            .encode(&Packet::Disconnect(Disconnect { session_expiry_interval: expiry, ..Disconnect::new(reason) }));
        self.send(device, bytes);
        self.goodbyes[task] = Some((has_will, expiry));
        self.devices[device].disconnected();
    }

    fn subscribe(&mut self, device: usize) {
        let filter = self.random.pick(&FILTERS);
        // All members of a group ask for the same, so that it does not matter who gets a message.
        let qos = match filter {
            "$share/g/s0/+" => QoS::AtLeastOnce,
            "$share/h/s1/#" => QoS::ExactlyOnce,
            _ => self.random.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]),
        };
        let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
        let bytes = self.devices[device].encode(&Packet::Subscribe(subscription(filter, options, None)));
        self.send(device, bytes);
    }

    fn unsubscribe(&mut self, device: usize) {
        let filter = TopicFilter::new(self.random.pick(&FILTERS)).unwrap();
        let packet = Unsubscribe { packet_id: packet_id(9), user_properties: UserProperties::default(), filters: vec![filter] };
        let bytes = self.devices[device].encode(&Packet::Unsubscribe(packet));
        self.send(device, bytes);
    }

    fn publish(&mut self, device: usize) {
        let topic = self.random.pick(&TOPICS).to_owned();
        let qos = self.random.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::ExactlyOnce]);
        self.truth.messages.push(Told { topic, qos });
        let number = self.truth.messages.len() - 1;
        let bytes = self.devices[device].publish(number, &self.truth, false);
        self.send(device, bytes);
    }

    fn retain(&mut self, device: usize) {
        let topic = self.random.pick(&["r/a", "r/b", "r/c"]).to_owned();
        self.truth.messages.push(Told { topic, qos: QoS::AtMostOnce });
        let number = self.truth.messages.len() - 1;
        let bytes = self.devices[device].publish(number, &self.truth, true);
        self.send(device, bytes);
    }

    /// The device sends one of the acknowledgements that it owes.
    pub(super) fn answer(&mut self, device: usize) {
        let owed = self.devices[device].owed.len();
        if owed > 0 {
            let index = self.random.below(owed);
            let bytes = self.devices[device].answer(index);
            self.send(device, bytes);
        }
    }

    pub(super) fn send(&mut self, device: usize, bytes: Vec<u8>) {
        let now = self.house.now;
        let device = &mut self.devices[device];
        device.silent_since = device.silent_since.map(|_| now);
        let task = &mut self.tasks[device.task.expect("it is connected")];
        if task.state == TaskState::Open {
            task.inbox.push(bytes);
            task.wake();
        }
    }
}
