use std::net::IpAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::Error;
use super::properties::{Properties, TOO_LONG, is_too_long};
use crate::client::{Endpoint, Options, TlsConnector, TlsOptions, WillOptions};
use crate::packet::{ProtocolVersion, QoS, TopicName};

/// How to reach the broker, and as whom: the same for both tools.
#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    /// Host to connect to.
    #[arg(short = 'h', long, value_name = "HOST", default_value = "localhost")]
    host: String,
    /// Port to connect to; 1883 unless given, 8883 with TLS. At 8883 it is TLS with the authorities that this machine trusts, unless
    /// others are given.
    #[arg(short, long, value_name = "PORT")]
    port: Option<u16>,
    /// Connect to a Unix socket instead.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["host", "port", "url"])]
    unix: Option<PathBuf>,
    /// User, password, host, port and topic in one: `mqtt(s)://[user[:password]@]host[:port]/topic`.
    #[arg(short = 'L', long, value_name = "URL", conflicts_with_all = ["host", "port"])]
    url: Option<String>,
    /// Local address to connect from.
    #[arg(short = 'A', value_name = "ADDRESS")]
    bind: Option<IpAddr>,
    /// Client identifier; the server makes one up unless given.
    #[arg(short, long, value_name = "ID", allow_hyphen_values = true)]
    id: Option<String>,
    /// Client identifier: this, followed by the number of the process.
    #[arg(short = 'I', long, value_name = "PREFIX", conflicts_with = "id", allow_hyphen_values = true)]
    id_prefix: Option<String>,
    /// User name.
    #[arg(short, long, value_name = "NAME", allow_hyphen_values = true)]
    username: Option<String>,
    /// Password.
    #[arg(short = 'P', long = "pw", value_name = "PASSWORD", allow_hyphen_values = true)]
    password: Option<String>,
    /// Keep alive in seconds.
    #[arg(short, long, value_name = "SECONDS", default_value_t = 60)]
    keepalive: u16,
    /// Version of the protocol: mqttv31, mqttv311 or mqttv5 (also 31, 311, 5); mqttv311 unless given, mqttv5 with -D.
    #[arg(short = 'V', long, value_name = "VERSION", value_parser = version)]
    protocol_version: Option<ProtocolVersion>,
    /// Take up the session of the client identifier, and leave it there for the next time.
    #[arg(short = 'c', long)]
    disable_clean_session: bool,
    /// Seconds that the session outlives the connection; -1 is for ever. MQTT 5.0 only.
    #[arg(short = 'x', value_name = "SECONDS", allow_hyphen_values = true, value_parser = session_expiry)]
    session_expiry: Option<u32>,
    /// A property of MQTT 5.0: the packet, the property, its value; a user property has a name and a value.
    ///
    /// Such as: -D publish user-property name value, -D connect receive-maximum 10. Packets: connect, publish, subscribe,
    /// unsubscribe, disconnect, will.
    #[arg(short = 'D', long = "property", num_args = 3..=4, value_names = ["PACKET", "PROPERTY", "VALUE"], action = ArgAction::Append)]
    property: Vec<String>,
    /// Topic of the will: the message that the server publishes if this client goes without saying goodbye.
    #[arg(long, value_name = "TOPIC")]
    will_topic: Option<String>,
    /// Payload of the will.
    #[arg(long, value_name = "TEXT", requires = "will_topic", allow_hyphen_values = true)]
    will_payload: Option<String>,
    /// QoS of the will.
    #[arg(long, value_name = "QOS", requires = "will_topic", default_value = "0", value_parser = qos)]
    will_qos: QoS,
    /// The will is to be retained.
    #[arg(long, requires = "will_topic")]
    will_retain: bool,
    /// TLS: file with the certificates of the authorities that are trusted.
    #[arg(long, value_name = "FILE")]
    cafile: Option<PathBuf>,
    /// TLS: folder with such files.
    #[arg(long, value_name = "DIR")]
    capath: Option<PathBuf>,
    /// TLS: trust the authorities that this machine trusts.
    #[arg(long)]
    tls_use_os_certs: bool,
    /// TLS: certificate of this client.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// TLS: its private key.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// TLS: do not check that the certificate is that of the host.
    #[arg(long)]
    insecure: bool,
    /// TLS: name of a protocol to ask for.
    #[arg(long, value_name = "PROTOCOL")]
    tls_alpn: Option<String>,
    /// Say what is sent and received.
    #[arg(short, long)]
    debug: bool,
    /// Say nothing about errors.
    #[arg(long)]
    pub(super) quiet: bool,
    /// Print help.
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

/// What the arguments come to.
pub(super) struct Plan {
    pub(super) endpoint: Endpoint,
    pub(super) tls: Option<TlsConnector>,
    pub(super) bind: Option<IpAddr>,
    pub(super) options: Options,
    pub(super) properties: Properties,
    /// The topic of the URL.
    pub(super) topic: Option<String>,
    pub(super) is_debug: bool,
    pub(super) is_quiet: bool,
}

pub(super) fn version(text: &str) -> Result<ProtocolVersion, String> {
    match text.trim_start_matches("mqttv") {
        "31" | "3.1" => Ok(ProtocolVersion::V31),
        "311" | "3.1.1" => Ok(ProtocolVersion::V311),
        "5" | "5.0" => Ok(ProtocolVersion::V5),
        _ => Err("it is none of mqttv31, mqttv311, mqttv5".into()),
    }
}

pub(super) fn qos(text: &str) -> Result<QoS, String> {
    let bits = text.parse().ok().and_then(QoS::from_bits);
    bits.ok_or_else(|| "it is none of 0, 1, 2".into())
}

fn session_expiry(text: &str) -> Result<u32, String> {
    match text {
        "-1" | "∞" => Ok(u32::MAX),
        text => text.parse().map_err(|_| "it is no number of seconds, nor -1".into()),
    }
}

/// A URL in its parts.
#[derive(Debug, PartialEq, Eq)]
struct Url<'a> {
    is_tls: bool,
    username: Option<&'a str>,
    password: Option<&'a str>,
    host: &'a str,
    port: Option<u16>,
    topic: &'a str,
}

impl<'a> Url<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (is_tls, rest) = match text.split_once("://")? {
            ("mqtt", rest) => (false, rest),
            ("mqtts", rest) => (true, rest),
            _ => return None,
        };
        let (authority, topic) = rest.split_once('/')?;
        let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
        let (username, password) = match user.map(|user| user.split_once(':').ok_or(user)) {
            None => (None, None),
            Some(Ok((name, password))) => (Some(name), Some(password)),
            Some(Err(name)) => (Some(name), None),
        };
        let (host, port) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map(str::parse).transpose().ok()?;
        (!host.is_empty() && !topic.is_empty()).then_some(Self { is_tls, username, password, host, port, topic })
    }
}

/// Where brokers listen with TLS.
const TLS_PORT: u16 = 8883;

fn check_length(name: &str, value: &[u8]) -> Result<(), Error> {
    if is_too_long(value) { Err(Error::usage(format!("{name}: {TOO_LONG}"))) } else { Ok(()) }
}

impl ConnectArgs {
    pub(super) fn plan(&self) -> Result<Plan, Error> {
        let url = self
            .url
            .as_deref()
            .map(|url| Url::parse(url).ok_or_else(|| Error::usage("-L takes mqtt(s)://[user[:password]@]host[:port]/topic")));
        let url = url.transpose()?;
        let tls = self.tls(url.as_ref())?;
        let port = self.given_port(url.as_ref()).unwrap_or_else(|| if tls.is_some() { TLS_PORT } else { 1883 });
        let host = url.as_ref().map_or(self.host.as_str(), |url| url.host).to_owned();
        let endpoint = match &self.unix {
            Some(path) => Endpoint::Unix(path.clone()),
            None => Endpoint::Tcp { host, port },
        };
        let properties = Properties::parse(&self.property).map_err(Error::usage)?;
        let is_v5 = self.version() == ProtocolVersion::V5;
        if !is_v5 && (!self.property.is_empty() || self.session_expiry.is_some()) {
            return Err(Error::usage("-D and -x are MQTT 5.0's: they need -V mqttv5"));
        }
        let options = self.options(&properties, url.as_ref())?;
        let topic = url.map(|url| url.topic.to_owned());
        let (bind, is_debug, is_quiet) = (self.bind, self.debug, self.quiet);
        Ok(Plan { endpoint, tls, bind, options, properties, topic, is_debug, is_quiet })
    }

    fn version(&self) -> ProtocolVersion {
        // Whoever gives a property means the version that has them.
        let default = if self.property.is_empty() { ProtocolVersion::V311 } else { ProtocolVersion::V5 };
        self.protocol_version.unwrap_or(default)
    }

    fn given_port(&self, url: Option<&Url<'_>>) -> Option<u16> {
        url.map_or(self.port, |url| url.port)
    }

    /// Whether the address says that it is TLS: a password must not go to the port of TLS in clear text.
    fn is_tls_address(&self, url: Option<&Url<'_>>) -> bool {
        self.unix.is_none() && (url.is_some_and(|url| url.is_tls) || self.given_port(url) == Some(TLS_PORT))
    }

    fn tls(&self, url: Option<&Url<'_>>) -> Result<Option<TlsConnector>, Error> {
        let has_authorities = self.cafile.is_some() || self.capath.is_some() || self.tls_use_os_certs;
        if !has_authorities && !self.is_tls_address(url) {
            if self.cert.is_some() || self.insecure {
                return Err(Error::usage("TLS needs --cafile, --capath or --tls-use-os-certs"));
            }
            return Ok(None);
        }
        let options = TlsOptions {
            ca_file: self.cafile.clone(),
            ca_folder: self.capath.clone(),
            system_authorities: self.tls_use_os_certs || !has_authorities,
            certificate: self.cert.clone().zip(self.key.clone()),
            any_server_name: self.insecure,
            alpn: self.tls_alpn.iter().cloned().collect(),
        };
        TlsConnector::new(&options).map(Some).map_err(|error| Error::new(super::FAILED, error))
    }

    fn options(&self, properties: &Properties, url: Option<&Url<'_>>) -> Result<Options, Error> {
        let client_id = match (&self.id, &self.id_prefix) {
            (Some(id), _) => id.clone(),
            (None, Some(prefix)) => format!("{prefix}{}", std::process::id()),
            // 3.1 knows no identifiers that the server makes up.
            (None, None) if self.version() == ProtocolVersion::V31 => format!("dunlin-{:08x}", rand::random::<u32>()),
            (None, None) => String::new(),
        };
        if self.disable_clean_session && client_id.is_empty() {
            return Err(Error::usage("-c needs a client identifier: -i or -I"));
        }
        let for_ever = if self.disable_clean_session { u32::MAX } else { 0 };
        let mut options = Options {
            version: self.version(),
            client_id,
            clean_start: !self.disable_clean_session,
            keep_alive: self.keepalive,
            username: url.and_then(|url| url.username.map(str::to_owned)).or_else(|| self.username.clone()),
            password: url.and_then(|url| url.password).or(self.password.as_deref()).map(|text| text.as_bytes().to_vec()),
            will: self.will(properties)?,
            session_expiry_interval: self.session_expiry.unwrap_or(for_ever),
            ..Options::default()
        };
        if options.password.is_some() && options.username.is_none() && options.version != ProtocolVersion::V5 {
            return Err(Error::usage("a password needs a user name: -u"));
        }
        properties.connect(&mut options);
        check_length("the client identifier", options.client_id.as_bytes())?;
        check_length("the user name", options.username.as_deref().unwrap_or_default().as_bytes())?;
        check_length("the password", options.password.as_deref().unwrap_or_default())?;
        Ok(options)
    }

    fn will(&self, properties: &Properties) -> Result<Option<WillOptions>, Error> {
        let Some(topic) = &self.will_topic else { return Ok(None) };
        TopicName::new(topic).map_err(|error| Error::usage(format!("--will-topic {topic:?}: {error}")))?;
        check_length("--will-payload", self.will_payload.as_deref().unwrap_or_default().as_bytes())?;
        Ok(Some(WillOptions {
            topic: topic.clone(),
            payload: self.will_payload.clone().unwrap_or_default().into_bytes(),
            qos: self.will_qos,
            retain: self.will_retain,
            delay_interval: properties.will_delay_interval,
            properties: properties.will.clone(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    #[command(disable_help_flag = true)]
    struct Tool {
        #[command(flatten)]
        connect: ConnectArgs,
    }

    fn args(words: &[&str]) -> ConnectArgs {
        Tool::parse_from([&["tool"][..], words].concat()).connect
    }

    #[test]
    fn port_8883_means_tls() {
        for (words, expected) in [
            (&["-p", "8883"][..], true),
            (&["-p", "8883", "-P", "secret", "-u", "me"], true),
            (&["-L", "mqtt://h:8883/t"], true),
            (&["-L", "mqtts://h:1883/t"], true),
            (&["-L", "mqtt://h/t"], false),
            (&["-p", "1883"], false),
            (&["--unix", "/s"], false),
            (&[], false),
        ] {
            let args = args(words);
            let url = args.url.as_deref().map(|url| Url::parse(url).unwrap());
            assert_eq!(args.is_tls_address(url.as_ref()), expected, "{words:?}");
        }
    }

    #[test]
    fn a_property_means_the_version_that_has_them() {
        let property = ["-D", "publish", "content-type", "t"];
        assert_eq!(args(&property).version(), ProtocolVersion::V5);
        assert_eq!(args(&[]).version(), ProtocolVersion::V311);
        assert!(args(&[&property[..], &["-V", "mqttv311"][..]].concat()).plan().is_err());
        assert!(args(&["-x", "5"]).plan().is_err());
    }

    #[test]
    fn what_no_packet_can_say_whole_is_refused() {
        let (long, fits) = ("x".repeat(65_536), "x".repeat(65_535));
        let property = |property: &'static str| vec!["-D", "publish", property];
        for words in [
            vec!["-i"],
            vec!["-u"],
            vec!["-u", "me", "-P"],
            vec!["--will-topic", "t", "--will-payload"],
            property("content-type"),
            property("correlation-data"),
            [property("user-property"), vec!["name"]].concat(),
        ] {
            let code = |value: &str| {
                let all = [&words[..], &[value][..]].concat();
                args(&all).plan().map(|_| ()).map_err(|error| error.code)
            };
            assert_eq!((code(&long), code(&fits)), (Err(2), Ok(())), "{words:?}");
        }
    }

    #[test]
    fn a_url_is_taken_apart() {
        let url = Url::parse("mqtts://me:secret@[::1]:18883/a/b").unwrap();
        let expected =
            Url { is_tls: true, username: Some("me"), password: Some("secret"), host: "::1", port: Some(18883), topic: "a/b" };
        assert_eq!(url, expected);
        assert_eq!(Url::parse("mqtt://host/t").map(|url| (url.host, url.port, url.topic)), Some(("host", None, "t")));
        for wrong in ["http://h/t", "mqtt://h", "mqtt://h/", "mqtt:///t", "mqtt://h:x/t", "h"] {
            assert_eq!(Url::parse(wrong), None, "{wrong}");
        }
    }
}
