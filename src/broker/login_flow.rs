use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::sync::oneshot;

use super::client::Client;
use super::connect::Hold;
use super::ending::By;
use super::events::{Event, EventKind};
use super::log_limiter::{Rate, excerpt};
use super::login::{Admitted, Login, Refusal, refusal};
use super::login_checks::{Checked, unix_now};
use super::quotas::ConnectionPlace;
use crate::auth::scram::{self, ScramExchange};
use crate::auth::{Facts, Granted, Opinion, Principal, RightAnswer, Step, Verdict, Way};
use crate::metrics::{Authentication, Denied, Limit};
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
    /// The login is looked at elsewhere: a password is hashed, or somebody outside is asked.
    Checking(oneshot::Receiver<Checked>),
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

/// The Authentication Method under which AUTH packets and CONNECT carry a token (4.12).
const TOKEN_METHOD: &str = "JWT";

impl Client {
    /// A CONNECT has come.
    pub(super) fn begin_login(&mut self, connect: &Connect<'_>, now: Instant) {
        if self.broker.overload.refuses_connections() && !self.origin.door.is_own() {
            self.broker.metrics.limit_hits.count(Limit::RefuseConnectionsAt);
            let refusal = refusal(ConnectReason::ServerBusy, "the server is overloaded");
            return self.refuse_login(Some(connect.client_id), refusal, now);
        }
        let limits = self.connection.limits().clone();
        let login = match Login::new(connect, &self.origin, &limits, &self.broker.metrics) {
            Ok(login) => login,
            Err(refusal) => return self.refuse_login(Some(connect.client_id), refusal, now),
        };
        if self.origin.certificate.as_ref().is_some_and(|certificate| certificate.is_nameless) {
            // Whoever it is, it is not the nobody that would be let in without a certificate.
            self.broker.metrics.authentications.count(Authentication::BadCertificate);
            self.broker.login_has_failed(self.origin.address, now);
            let refusal = refusal(ConnectReason::NotAuthorized, "the certificate has no name that can be a user's");
            return self.refuse_login(Some(connect.client_id), refusal, now);
        }
        if self.origin.is_revoked() {
            // Since the handshake.
            self.broker.metrics.authentications.count(Authentication::BadCertificate);
            let refusal = refusal(ConnectReason::NotAuthorized, "the certificate is revoked");
            return self.refuse_login(Some(&login.client_id), refusal, now);
        }
        if self.is_banned(&login.client_id, login.username.as_deref())
            || self.is_banned(&login.client_id, login.certificate_identity.as_deref())
            || self.claims_to_be_banned(&login)
        {
            return self.refuse_login(Some(connect.client_id), BANNED, now);
        }
        if login.method.is_some() {
            return self.challenge_login(login, connect.properties.authentication_data.unwrap_or_default(), now);
        }
        let authenticator = self.origin.door.rights.authenticator();
        let step = authenticator.step(0, &login.credentials(), unix_now());
        self.go_on(login, step, now);
    }

    /// A method has answered, or takes its time. The question about a will does too.
    fn go_on(&mut self, login: Login, step: Step, now: Instant) {
        let rights = &self.origin.door.rights;
        let asks_about_will = login.will().is_some() && rights.is_asking();
        let step = match step {
            Step::Decided(verdict) if !asks_about_will => return self.decide_login(login, verdict, now),
            step => step,
        };
        let client_id = login.client_id.clone();
        let checks = &self.broker.login_checks;
        match checks.begin(rights.authenticator(), self.origin.clone(), Box::new(login), step) {
            Some(receiver) => self.login = LoginState::Checking(receiver),
            None => {
                self.broker.metrics.authentications.count(Authentication::Overloaded);
                let refusal = refusal(ConnectReason::ServerBusy, "too many logins are being checked");
                self.refuse_login(Some(&client_id), refusal, now);
            }
        }
    }

    /// Looks whether what is looked at elsewhere is done.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>, now: Instant) {
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
        let method = login.method.clone();
        match method.as_deref() {
            Some(scram::METHOD) => {
                if let Some(server) = authenticator.scram() {
                    return match server.start(data) {
                        Ok((exchange, challenge)) => {
                            self.connection.challenge(AuthReason::ContinueAuthentication, scram::METHOD, Some(&challenge));
                            self.login = LoginState::Challenged(Box::new((login, exchange)));
                        }
                        Err(error) => self.exchange_failed(&client_id, &error.to_string(), now),
                    };
                }
            }
            Some(TOKEN_METHOD) => {
                if let Some(tokens) = authenticator.tokens() {
                    let checked = tokens.check(data, &login.credentials().facts(), unix_now());
                    return match checked {
                        Ok(token) => {
                            let verdict = Verdict::Granted(Box::new(Granted::by_token(token, unix_now())));
                            self.go_on(login, Step::Decided(verdict), now);
                        }
                        Err(error) => self.exchange_failed(&client_id, &error.to_string(), now),
                    };
                }
            }
            Some(_) | None => {}
        }
        self.broker.metrics.authentications.count(Authentication::BadMethod);
        let refusal = refusal(ConnectReason::BadAuthenticationMethod, "the authentication method is not known here");
        self.refuse_login(Some(&client_id), refusal, now); // [MQTT-4.12.0-1]
    }

    /// An AUTH has come.
    pub(super) fn continue_login(&mut self, auth: &Auth<'_>, now: Instant) -> Result<(), Violation> {
        let data = auth.authentication_data.unwrap_or_default();
        match std::mem::take(&mut self.login) {
            LoginState::Challenged(state) => {
                let (mut login, exchange) = *state;
                if auth.reason != AuthReason::ContinueAuthentication || auth.authentication_method != login.method.as_deref() {
                    return Err(protocol("AUTH that does not continue the authentication")); // [MQTT-4.12.0-3], [MQTT-4.12.0-5]
                }
                match exchange.finish(data) {
                    Ok(success) => {
                        login.exchange_data = Some(success.server_final);
                        let granted = Granted::new(Some(success.username), Way::Password);
                        self.go_on(login, Step::Decided(Verdict::Granted(Box::new(granted))), now);
                    }
                    Err(error) => self.exchange_failed(&login.client_id, &error.to_string(), now),
                }
                Ok(())
            }
            LoginState::Rechallenged(exchange) if auth.reason == AuthReason::ContinueAuthentication => {
                self.finish_reauthentication(*exchange, data, now)
            }
            LoginState::None if auth.reason == AuthReason::ReAuthenticate && self.hold.is_some() => {
                if auth.authentication_method == Some(TOKEN_METHOD) {
                    return self.renew_token(data, now);
                }
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
    fn finish_reauthentication(&mut self, exchange: ScramExchange, data: &[u8], now: Instant) -> Result<(), Violation> {
        let success = exchange.finish(data).map_err(|_| {
            self.broker.metrics.authentications.count(Authentication::ExchangeFailed);
            self.broker.login_has_failed(self.origin.address, now);
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

    /// A new token of the same user, at the same place: its rights and its end count from now on (4.12.1).
    fn renew_token(&mut self, data: &[u8], now: Instant) -> Result<(), Violation> {
        let Some(hold) = self.hold.clone() else { return Ok(()) };
        let (handle, unix_now) = (&hold.handle, unix_now());
        let authenticator = self.origin.door.rights.authenticator();
        let tokens = authenticator.tokens().ok_or_else(|| protocol("no authentication method"))?;
        let username = handle.principal.username.as_deref();
        let facts = Facts { client_id: &handle.principal.client_id, username, claims: None, certificate: None };
        let token = tokens.check(data, &facts, unix_now);
        let token = token.ok().filter(|token| Some(token.username.as_str()) == username);
        let granted = token.map(|token| Granted::by_token(token, unix_now));
        let place = |granted: &Granted| {
            let certificate = self.origin.certificate_der().map(|der| &**der);
            let facts = Facts { claims: granted.claims.as_ref(), certificate, ..facts };
            self.origin.door.mount_point.as_ref().map(|mount_point| mount_point.fill(&facts))
                == handle.mount_point.clone().map(Some)
        };
        let Some(granted) = granted.filter(place) else {
            self.broker.metrics.authentications.count(Authentication::ExchangeFailed);
            self.broker.login_has_failed(self.origin.address, now);
            return Err(not_authorized());
        };
        self.broker.metrics.authentications.count(Authentication::Success);
        handle.bring(Login::brought(&granted, handle.mount_point.clone()));
        let valid_until = granted.stay.and_then(|stay| now.checked_add(stay));
        handle.lock(|slot| {
            slot.connection(hold.epoch).into_iter().for_each(|online| {
                online.stay.get_or_insert_default().valid_until = valid_until;
                online.by = Way::Token;
            });
        });
        self.broker.recheck_session(handle, now);
        self.broker.schedule_credentials(handle, hold.epoch, now);
        self.connection.challenge(AuthReason::Success, TOKEN_METHOD, None);
        Ok(())
    }

    fn decide_login(&mut self, login: Login, mut verdict: Verdict, now: Instant) {
        let metrics = &self.broker.metrics;
        if let Verdict::Granted(granted) = &verdict
            && !self.origin.door.rights.authenticator().still_lets_in(granted.by, granted.username.as_deref())
        {
            // The user was removed while the password was being checked.
            verdict = Verdict::Refused(ConnectReason::BadUserNameOrPassword);
        }
        match verdict {
            Verdict::Granted(granted) => {
                let kind = if granted.username.is_some() { Authentication::Success } else { Authentication::Anonymous };
                metrics.authentications.count(kind);
                if let Err(refusal) = self.let_in(&login, granted, now) {
                    self.refuse_login(Some(&login.client_id), refusal, now);
                }
            }
            Verdict::Refused(reason) => {
                let kind = match (&login.username, &login.certificate_identity) {
                    _ if reason == ConnectReason::ServerUnavailable => Authentication::Unavailable,
                    (_, Some(_)) => Authentication::BadCertificate,
                    (None, None) if login.password.is_none() => Authentication::AnonymousRefused,
                    (_, None) => Authentication::BadCredentials,
                };
                metrics.authentications.count(kind);
                if FAULTS_OF_CLIENTS.contains(&reason) {
                    self.broker.login_has_failed(self.origin.address, now);
                }
                // The client is told no more than the code: not whether the user exists.
                self.refuse_login(Some(&login.client_id), refusal(reason, "not let in"), now);
            }
        }
    }

    fn exchange_failed(&mut self, client_id: &str, cause: &str, now: Instant) {
        self.broker.metrics.authentications.count(Authentication::ExchangeFailed);
        self.broker.login_has_failed(self.origin.address, now);
        tracing::debug!(client = client_id, cause, "authentication exchange failed");
        self.refuse_login(Some(client_id), refusal(ConnectReason::NotAuthorized, "authentication failed"), now);
    }

    /// Whether one who has shown who it is has to stay outside all the same: it is banned, or its user or tenant has as many
    /// connections as it may.
    fn hold_back(&self, principal: &Principal, mount_point: Option<&Arc<str>>) -> Result<Option<ConnectionPlace>, Refusal> {
        // Perhaps since CONNECT came, or under the name that the exchange told.
        if self.is_kept_out(principal, mount_point) {
            return Err(BANNED);
        }
        let Some(account) = self.broker.accounts.of(principal.username.as_ref(), mount_point) else { return Ok(None) };
        let place = ConnectionPlace::take(&account).or_else(|limit| {
            // The one that it takes the place of is as good as gone.
            let is_back = self.broker.is_online(principal, mount_point.map(|mount_point| &**mount_point));
            if is_back { Ok(ConnectionPlace::in_place_of_another(&account)) } else { Err(limit) }
        });
        place.map(Some).map_err(|limit| {
            self.broker.metrics.limit_hits.count(limit);
            refusal(ConnectReason::QuotaExceeded, "the user, or the tenant, has as many connections as it may")
        })
    }

    /// The client has shown who it is: it gets its session and its CONNACK.
    fn let_in(&mut self, login: &Login, granted: Box<Granted>, now: Instant) -> Result<(), Refusal> {
        let mount_point = login.place(&self.origin, &granted)?;
        let principal = login.principal(&granted);
        let place = self.hold_back(&principal, mount_point.as_ref())?;
        let by = granted.by;
        let admitted = self.admit(login, granted, (principal, mount_point), now)?;
        if let Err(limit) = self.admission.admit() {
            self.broker.metrics.limit_hits.count(limit);
            return Err(refusal(ConnectReason::ServerBusy, "no more connections are taken"));
        }
        let response_information = format!("response/{}/", login.client_id);
        let may_respond = self.may_respond(&response_information, &admitted);
        let limits = self.connection.limits().clone();
        let request = login.request(admitted, &self.origin, limits.clone(), now);
        let properties = ConnAckProperties {
            authentication_method: login.method.as_deref(),
            authentication_data: login.exchange_data.as_deref(),
            ..login.connack(&limits, may_respond.then_some(&*response_information))
        };
        let connack = ConnAck { session_present: false, reason: ConnectReason::Success, properties };
        if !self.connection.may_send(&Packet::ConnAck(connack)) {
            return Err(refusal(ConnectReason::PacketTooLarge, "CONNACK is over the client's maximum packet size"));
        }
        let (hold, session_present) = self.broker.open_session(request, self.waker.clone(), self.direct.take(), now)?;
        let agreement = Agreement {
            session_expiry_interval: login.expiry_interval,
            maximum_packet_size: login.maximum_packet_size,
            problem_information: login.problem_information,
            authentication_method: login.method.clone(),
        };
        self.connection.accept(agreement, &ConnAck { session_present, ..connack });
        self.broker.metrics.connacks_sent.count(0);
        self.broker.metrics.sessions.online.increment();
        self.open.connected(login.version as u8);
        self.place = place;
        self.pace = self.broker.pacing.pace_of(&self.origin, hold.handle.principal.username.as_ref(), now);
        self.welcome((&hold, session_present), login, now);
        if let Some(reason) = self.must_go_again(&hold, login, by, now) {
            hold.handle.lock(|slot| slot.connection(hold.epoch).into_iter().for_each(|online| online.close(reason)));
        }
        self.hold = Some(hold);
        Ok(())
    }

    /// Why one that was just let in may not stay. What was taken away while its session was opened counts: whoever took it away may
    /// have looked before the session was there.
    fn must_go_again(&self, hold: &Hold, login: &Login, by: Way, now: Instant) -> Option<DisconnectReason> {
        let handle = &*hold.handle;
        let username = handle.principal.username.as_deref();
        if self.origin.is_revoked() || !handle.rights.authenticator().still_lets_in(by, username) {
            return Some(DisconnectReason::NotAuthorized);
        }
        let may_loop = login.is_assigned() || self.origin.door.is_own();
        let is_out = self.is_kept_out(&handle.principal, handle.mount_point.as_ref())
            || !may_loop && self.broker.comes_too_often(handle, now);
        is_out.then_some(DisconnectReason::AdministrativeAction)
    }

    /// Finds out whether the client's will may be published at its place.
    fn admit(
        &self,
        login: &Login,
        granted: Box<Granted>,
        (principal, mount_point): (Principal, Option<Arc<str>>),
        now: Instant,
    ) -> Result<Admitted, Refusal> {
        let will = login.mounted_will(mount_point.as_deref())?;
        let brought = Login::brought(&granted, mount_point.clone());
        if let Some(will) = &will {
            let opinion = self.origin.door.rights.on_publish(&brought.asker(&principal), will.topic());
            let is_granted = match opinion {
                Opinion::Granted => true,
                Opinion::Denied => false,
                Opinion::Ask => login.will_answer == Some(RightAnswer::Allow),
            };
            if !is_granted {
                if let Some(suppressed) = self.broker.log_limiter.allow("will refused", now) {
                    let topic = excerpt(will.topic().as_str());
                    tracing::info!(client = &*login.client_id, topic, suppressed, "will refused");
                }
                self.broker.metrics.authorization_denied.count(Denied::Will);
                let reason = match login.will_answer {
                    Some(RightAnswer::Unavailable) => ConnectReason::ServerUnavailable,
                    _ => ConnectReason::NotAuthorized,
                };
                return Err(refusal(reason, "the will's topic may not be published to"));
            }
        }
        Ok(Admitted { granted, principal, mount_point, brought, will })
    }

    fn may_respond(&self, response_information: &str, admitted: &Admitted) -> bool {
        let Admitted { principal, mount_point, brought, .. } = admitted;
        let filter = format!("{}{response_information}#", mount_point.as_deref().unwrap_or_default());
        let opinion = |filter: &TopicFilter| self.origin.door.rights.on_subscribe(&brought.asker(principal), filter);
        !principal.client_id.contains(['+', '#'])
            && TopicFilter::new(&filter).is_ok_and(|filter| opinion(&filter) == Opinion::Granted)
    }

    fn is_banned(&self, client_id: &str, username: Option<&str>) -> bool {
        self.broker.bans.find(client_id, username, self.origin.address).is_some()
    }

    /// Whether a client that has shown who it is is banned.
    fn is_kept_out(&self, principal: &Principal, mount_point: Option<&Arc<str>>) -> bool {
        let username = principal.username.as_deref();
        let mount_point = mount_point.map(|mount_point| &**mount_point);
        self.is_banned(&principal.client_id, username) || self.broker.bans.has_own(&principal.client_id, username, mount_point)
    }

    /// Whether a client would be banned if it is who it says: then its password need not be looked at.
    fn claims_to_be_banned(&self, login: &Login) -> bool {
        let claimed = login.certificate_identity.as_deref().or(login.username.as_deref());
        let Some(name) = claimed.filter(|_| !self.broker.bans.is_empty()) else { return false };
        let mount_point = login.mount_point(&self.origin, Some(name), None);
        mount_point.is_some_and(|at| self.broker.bans.has_own(&login.client_id, Some(name), at.as_deref()))
    }

    fn welcome(&self, (hold, session_present): (&Hold, bool), login: &Login, now: Instant) {
        let principal = &hold.handle.principal;
        self.trace_event(&principal.client_id, "connected", None, if session_present { "session present" } else { "" });
        if let Some(suppressed) = self.broker.log_limiter.allow_at(Rate::OFTEN, "connected", now) {
            tracing::info!(
                client = &*principal.client_id, user = principal.username.as_deref(), peer = self.origin.peer(),
                listener = &*self.origin.door.name, version = %login.version, keep_alive = login.keep_alive(),
                session_present, suppressed, "connected"
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

/// What a login is refused with because of what the client has shown, and not because of the broker's own state.
const FAULTS_OF_CLIENTS: [ConnectReason; 2] = [ConnectReason::BadUserNameOrPassword, ConnectReason::NotAuthorized];

const BANNED: Refusal = refusal(ConnectReason::Banned, "banned");

fn not_authorized() -> Violation {
    Violation { reason: DisconnectReason::NotAuthorized, detail: "authentication failed".into(), limit: None }
}

fn protocol(detail: &'static str) -> Violation {
    Violation { reason: DisconnectReason::ProtocolError, detail: detail.into(), limit: None }
}
