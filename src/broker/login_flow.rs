use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::sync::oneshot;

use super::client::Client;
use super::ending::By;
use super::events::{Event, EventKind};
use super::log_limiter::{Rate, excerpt};
use super::login::{Login, Refusal, refusal};
use crate::auth::scram::{self, ScramExchange};
use crate::auth::{Principal, Verdict};
use crate::metrics::{Authentication, Denied};
use crate::packet::{
    Auth, AuthReason, ConnAck, ConnAckProperties, Connect, ConnectReason, DisconnectReason, Packet, TopicFilter,
};
use crate::session::{Agreement, Violation};

/// How far a connection has come in saying who it is.
#[derive(Debug, Default)]
pub enum LoginState {
    /// Nothing is under way.
    #[default]
    None,
    /// A password is being checked on another thread.
    Checking(oneshot::Receiver<(Box<Login>, Verdict)>),
    /// The client is to answer a challenge before it is let in.
    Challenged(Box<(Login, ScramExchange)>),
    /// The same of a client that is in already (4.12.1).
    Rechallenged(Box<ScramExchange>),
}

impl LoginState {
    /// Whether packets must wait for it.
    pub const fn is_pending(&self) -> bool {
        matches!(self, Self::Checking(_))
    }
}

impl Client {
    /// A CONNECT has come.
    pub(super) fn begin_login(&mut self, connect: &Connect<'_>, now: Instant) {
        let limits = self.connection.limits().clone();
        let login = match Login::new(connect, &self.origin, &limits, &self.broker.metrics) {
            Ok(login) => login,
            Err(refusal) => return self.refuse_login(Some(connect.client_id), refusal, now),
        };
        if self.origin.has_nameless_certificate {
            // Whoever it is, it is not the nobody that would be let in without a certificate.
            self.broker.metrics.authentications.count(Authentication::BadCertificate);
            let refusal = refusal(ConnectReason::NotAuthorized, "the certificate has no name that can be a user's");
            return self.refuse_login(Some(connect.client_id), refusal, now);
        }
        if self.is_banned(&login.client_id, login.username.as_deref())
            || self.is_banned(&login.client_id, login.certificate_identity.as_deref())
        {
            return self.refuse_login(Some(connect.client_id), BANNED, now);
        }
        let authenticator = self.origin.door.rights.authenticator();
        if login.method.is_some() {
            return self.challenge_login(login, connect.properties.authentication_data.unwrap_or_default(), now);
        }
        if !authenticator.needs_hashing(&login.credentials()) {
            let verdict = authenticator.authenticate(&login.credentials());
            return self.decide_login(login, verdict, now);
        }
        match self.broker.password_checks.begin(authenticator, Box::new(login)) {
            Some(receiver) => self.login = LoginState::Checking(receiver),
            None => {
                self.broker.metrics.authentications.count(Authentication::Overloaded);
                let refusal = refusal(ConnectReason::ServerBusy, "too many logins are being checked");
                self.refuse_login(Some(connect.client_id), refusal, now);
            }
        }
    }

    /// Looks whether a password check is done.
    pub(super) fn poll_password_check(&mut self, cx: &mut Context<'_>, now: Instant) {
        let LoginState::Checking(receiver) = &mut self.login else { return };
        let Poll::Ready(result) = Pin::new(receiver).poll(cx) else { return };
        self.login = LoginState::None;
        match result {
            Ok((login, verdict)) => self.decide_login(*login, verdict, now),
            Err(_) => {
                let refusal = refusal(ConnectReason::ServerUnavailable, "the password could not be checked");
                self.refuse_login(None, refusal, now);
            }
        }
    }

    fn challenge_login(&mut self, login: Login, data: &[u8], now: Instant) {
        let authenticator = self.origin.door.rights.authenticator();
        let client_id = login.client_id.clone();
        let Some(server) = authenticator.scram().filter(|_| login.method.as_deref() == Some(scram::METHOD)) else {
            self.broker.metrics.authentications.count(Authentication::BadMethod);
            let refusal = refusal(ConnectReason::BadAuthenticationMethod, "the authentication method is not known here");
            return self.refuse_login(Some(&client_id), refusal, now); // [MQTT-4.12.0-1]
        };
        match server.start(data) {
            Ok((exchange, challenge)) => {
                self.connection.challenge(AuthReason::ContinueAuthentication, scram::METHOD, Some(&challenge));
                self.login = LoginState::Challenged(Box::new((login, exchange)));
            }
            Err(error) => self.exchange_failed(&client_id, &error.to_string(), now),
        }
    }

    /// An AUTH has come.
    pub(super) fn continue_login(&mut self, auth: &Auth<'_>, now: Instant) -> Result<(), Violation> {
        let data = auth.authentication_data.unwrap_or_default();
        let protocol =
            |detail: &'static str| Violation { reason: DisconnectReason::ProtocolError, detail: detail.into(), limit: None };
        match std::mem::take(&mut self.login) {
            LoginState::Challenged(state) => {
                let (login, exchange) = *state;
                if auth.reason != AuthReason::ContinueAuthentication || auth.authentication_method != login.method.as_deref() {
                    return Err(protocol("AUTH that does not continue the authentication")); // [MQTT-4.12.0-3], [MQTT-4.12.0-5]
                }
                match exchange.finish(data) {
                    Ok(success) => self.let_in(login, Some(success.username), Some(&success.server_final), now),
                    Err(error) => self.exchange_failed(&login.client_id, &error.to_string(), now),
                }
                Ok(())
            }
            LoginState::Rechallenged(exchange) if auth.reason == AuthReason::ContinueAuthentication => {
                self.finish_reauthentication(*exchange, data)
            }
            LoginState::None if auth.reason == AuthReason::ReAuthenticate && self.hold.is_some() => {
                let authenticator = self.origin.door.rights.authenticator();
                let started = authenticator.scram().ok_or_else(|| protocol("no authentication method"))?.start(data);
                let (exchange, challenge) = started.map_err(|_| not_authorized())?;
                self.connection.challenge(AuthReason::ContinueAuthentication, scram::METHOD, Some(&challenge));
                self.login = LoginState::Rechallenged(Box::new(exchange));
                Ok(())
            }
            _ => Err(protocol("AUTH that nothing has asked for")),
        }
    }

    /// The same user must prove itself: the session is that user's.
    fn finish_reauthentication(&mut self, exchange: ScramExchange, data: &[u8]) -> Result<(), Violation> {
        let success = exchange.finish(data).map_err(|_| {
            self.broker.metrics.authentications.count(Authentication::ExchangeFailed);
            not_authorized()
        })?;
        let user = self.hold.as_ref().and_then(|hold| hold.handle.principal.username.as_deref());
        if user != Some(success.username.as_str()) {
            return Err(not_authorized());
        }
        self.broker.metrics.authentications.count(Authentication::Success);
        self.connection.challenge(AuthReason::Success, scram::METHOD, Some(&success.server_final));
        Ok(())
    }

    fn decide_login(&mut self, login: Login, mut verdict: Verdict, now: Instant) {
        let metrics = &self.broker.metrics;
        if let Verdict::Granted { username: Some(user) } = &verdict
            && login.certificate_identity.is_none()
            && !self.origin.door.rights.authenticator().has_user(user)
        {
            // The user was removed while the password was being checked.
            verdict = Verdict::Refused(ConnectReason::BadUserNameOrPassword);
        }
        match verdict {
            Verdict::Granted { username } => {
                let kind = if username.is_some() { Authentication::Success } else { Authentication::Anonymous };
                metrics.authentications.count(kind);
                self.let_in(login, username, None, now);
            }
            Verdict::Refused(reason) => {
                let kind = match (&login.username, &login.certificate_identity) {
                    (_, Some(_)) => Authentication::BadCertificate,
                    (None, None) => Authentication::AnonymousRefused,
                    (Some(_), None) => Authentication::BadCredentials,
                };
                metrics.authentications.count(kind);
                let client_id = login.client_id.clone();
                // The client is told no more than the code: not whether the user exists.
                self.refuse_login(Some(&client_id), refusal(reason, "not let in"), now);
            }
        }
    }

    fn exchange_failed(&mut self, client_id: &str, cause: &str, now: Instant) {
        self.broker.metrics.authentications.count(Authentication::ExchangeFailed);
        tracing::debug!(client = client_id, cause, "authentication exchange failed");
        self.refuse_login(Some(client_id), refusal(ConnectReason::NotAuthorized, "authentication failed"), now);
    }

    /// The client has shown who it is: it gets its session and its CONNACK.
    fn let_in(&mut self, mut login: Login, username: Option<String>, auth_data: Option<&[u8]>, now: Instant) {
        let client_id = login.client_id.clone();
        let principal = Principal { client_id: client_id.clone(), username: username.map(Into::into) };
        if self.is_banned(&client_id, principal.username.as_deref()) {
            // Since CONNECT came, or under the name that the exchange told.
            return self.refuse_login(Some(&client_id), BANNED, now);
        }
        let rights = &self.origin.door.rights;
        if let Some(will) = login.will().filter(|will| !rights.may_publish(&principal, will.topic())) {
            if let Some(suppressed) = self.broker.log_limiter.allow("will refused", now) {
                tracing::info!(client = &*client_id, topic = excerpt(will.topic().as_str()), suppressed, "will refused");
            }
            self.broker.metrics.authorization_denied.count(Denied::Will);
            let refusal = refusal(ConnectReason::NotAuthorized, "the will's topic may not be published to");
            return self.refuse_login(Some(&client_id), refusal, now);
        }
        if let Err(limit) = self.admission.admit() {
            self.broker.metrics.limit_hits.count(limit);
            let refusal = refusal(ConnectReason::ServerBusy, "no more connections are taken");
            return self.refuse_login(Some(&client_id), refusal, now);
        }
        let response_information = format!("response/{client_id}/");
        let may_respond = TopicFilter::new(&format!("{response_information}#"))
            .is_ok_and(|filter| !client_id.contains(['+', '#']) && rights.may_subscribe(&principal, &filter));
        let limits = self.connection.limits().clone();
        let request = login.request(principal, &self.origin, limits.clone());
        let properties = ConnAckProperties {
            authentication_method: login.method.as_deref(),
            authentication_data: auth_data,
            ..login.connack(&limits, may_respond.then_some(&*response_information))
        };
        let connack = ConnAck { session_present: false, reason: ConnectReason::Success, properties };
        if !self.connection.may_send(&Packet::ConnAck(connack)) {
            let refusal = refusal(ConnectReason::PacketTooLarge, "CONNACK is over the client's maximum packet size");
            return self.refuse_login(Some(&client_id), refusal, now);
        }
        let hold = match self.broker.open_session(request, self.waker.clone(), self.direct.take(), now) {
            Ok(hold) => hold,
            Err(reason) => {
                let refusal = refusal(reason, "the session is not to be had");
                return self.refuse_login(Some(&client_id), refusal, now);
            }
        };
        let agreement = Agreement {
            session_expiry_interval: login.expiry_interval,
            maximum_packet_size: login.maximum_packet_size,
            problem_information: login.problem_information,
            authentication_method: login.method.clone(),
        };
        self.connection.accept(agreement, &ConnAck { session_present: hold.session_present, ..connack });
        self.broker.metrics.connacks_sent.count(0);
        self.broker.metrics.sessions.online.increment();
        self.open.connected(login.version as u8);
        self.welcome(&hold, &login, now);
        self.hold = Some(hold);
    }

    fn is_banned(&self, client_id: &str, username: Option<&str>) -> bool {
        self.broker.bans.find(client_id, username, self.origin.address).is_some()
    }

    fn welcome(&self, hold: &super::connect::Hold, login: &Login, now: Instant) {
        let principal = &hold.handle.principal;
        self.trace_event(&principal.client_id, "connected", None, if hold.session_present { "session present" } else { "" });
        if let Some(suppressed) = self.broker.log_limiter.allow_at(Rate::OFTEN, "connected", now) {
            tracing::info!(
                client = &*principal.client_id, user = principal.username.as_deref(), peer = self.origin.peer(),
                listener = &*self.origin.door.name, version = %login.version, keep_alive = login.keep_alive(),
                session_present = hold.session_present, suppressed, "connected"
            );
        }
        self.broker.tell(Event {
            client_id: Arc::clone(&principal.client_id),
            username: principal.username.clone(),
            address: self.origin.address,
            version: login.version,
            kind: EventKind::Connected {
                keep_alive: login.keep_alive(),
                clean_start: login.clean_start(),
                expiry_interval: login.expiry_interval,
            },
        });
    }

    fn refuse_login(&mut self, client_id: Option<&str>, refusal: Refusal, now: Instant) {
        if let Some(suppressed) = self.broker.log_limiter.allow("refused", now) {
            tracing::info!(
                client = client_id, peer = self.origin.peer(), listener = &*self.origin.door.name,
                reason = %refusal.reason, why = refusal.why, suppressed, "connection refused"
            );
        }
        if let Some(client_id) = client_id.filter(|_| self.broker.traces.is_on()) {
            self.trace_event(&client_id.into(), "refused", Some(refusal.reason.code()), refusal.why);
        }
        self.refuse(refusal.reason, Some(refusal.why));
        self.end_with(refusal.reason.code(), refusal.why.into(), false, By::Server);
    }
}

const BANNED: Refusal = refusal(ConnectReason::Banned, "banned");

fn not_authorized() -> Violation {
    Violation { reason: DisconnectReason::NotAuthorized, detail: "authentication failed".into(), limit: None }
}
