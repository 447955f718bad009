//! Who is known: apps, their tokens, teams and sockets, and the tickets and `response_url`s issued to them.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use super::{
    control::{NewApp, Team},
    delivery::Delivery,
    faults::{Act, Faults},
    load::{Running, Window},
    options::{Options, Recording, Rules},
    record::{AppRecord, At, Record},
    wire::Piece,
};
use crate::secret::{AppToken, BotToken};

/// All that changes. One lock guards it; nothing waits while holding it.
pub(super) struct State {
    address: SocketAddr,
    pub(super) rules: Rules,
    pub(super) recording: Recording,
    pub(super) auto_register: bool,
    pub(super) apps: Vec<App>,
    /// `record.apps` and `apps` have the same order.
    pub(super) record: Record,
    app_tokens: HashMap<String, usize>,
    bot_tokens: HashMap<String, (usize, String)>,
    /// Bot tokens that are no good any more, and the error that says so.
    revoked: HashMap<String, &'static str>,
    pub(super) tickets: HashMap<String, Ticket>,
    pub(super) responses: HashMap<String, ResponseUrl>,
    pub(super) faults: Faults,
    pub(super) sockets: HashMap<u64, Socket>,
    pub(super) delivery: Delivery,
    pub(super) loads: Vec<Running>,
    pub(super) lot: StdRng,
    numbers: u64,
}

/// A Slack app.
pub(super) struct App {
    /// `A…`.
    pub(super) id: String,
    /// What stands for its id in a socket's address.
    pub(super) hash: String,
    pub(super) teams: Vec<Team>,
    /// The error its opens fail with.
    pub(super) refusal: Option<String>,
    /// Dead registrations that still count.
    pub(super) ghosts: usize,
    /// Its sockets that Slack counts: upgraded and not ended.
    pub(super) registered: Vec<u64>,
    /// Whose turn it is.
    pub(super) turn: usize,
    /// Jobs that wait for a live socket.
    pub(super) waiting: VecDeque<u64>,
    pub(super) window: Option<Window>,
    /// How many of its events' records were let go.
    pub(super) forgotten: u64,
    /// How many of its events have or had a record.
    pub(super) recorded: u64,
}

/// One upgraded socket, as others see it; its task owns the rest.
pub(super) struct Socket {
    pub(super) app: usize,
    pub(super) hello: bool,
    /// Its end was announced.
    pub(super) announced: bool,
    /// Envelopes on it that nobody acked yet.
    pub(super) in_flight: u32,
    /// What its task is to do, in order.
    pub(super) out: VecDeque<Out>,
    pub(super) out_bytes: usize,
    pub(super) wake: Arc<Notify>,
}

/// What a socket's task is to do.
pub(super) enum Out {
    Write(Piece),
    Do(Act),
}

/// The right to one upgrade.
pub(super) struct Ticket {
    pub(super) app: usize,
    pub(super) until: Duration,
}

/// A `response_url`.
pub(super) struct ResponseUrl {
    pub(super) app: usize,
    pub(super) event_id: String,
    pub(super) until: Duration,
    pub(super) uses: u32,
}

impl State {
    pub(super) fn new(options: Options, alarm: Arc<Notify>, address: SocketAddr, started_at_ms: i64) -> Self {
        let mut lot = StdRng::seed_from_u64(options.seed.unwrap_or_else(rand::random));
        Self {
            address,
            rules: options.rules,
            recording: options.record,
            auto_register: options.auto_register,
            apps: Vec::new(),
            record: Record { started_at_ms, ..Record::default() },
            app_tokens: HashMap::new(),
            bot_tokens: HashMap::new(),
            revoked: HashMap::new(),
            tickets: HashMap::new(),
            responses: HashMap::new(),
            faults: Faults::default(),
            sockets: HashMap::new(),
            delivery: Delivery::new(lot.next_u32(), alarm),
            loads: Vec::new(),
            lot,
            numbers: 0,
        }
    }

    /// A time of ours by the wall clock, since 1970.
    pub(super) fn wall(&self, now: Duration) -> Duration {
        Duration::from_millis(self.record.started_at_ms.unsigned_abs()) + now
    }

    /// A new `response_url` for an event.
    pub(super) fn response_url(&mut self, app: usize, event_id: &str, now: Duration) -> String {
        let id = self.uuid();
        let until = now + RESPONSE_LIFE;
        if self.responses.len() >= KEPT_RESPONSES {
            self.responses.retain(|_, url| now < url.until && url.uses < RESPONSE_USES);
        }
        if self.responses.len() < KEPT_RESPONSES {
            let url = ResponseUrl { app, event_id: event_id.into(), until, uses: 0 };
            self.responses.insert(id.clone(), url);
        }
        format!("http://{}/response/{id}", self.address)
    }

    /// A number that was not given before.
    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// An id nobody guesses, in a UUID's shape.
    pub(super) fn uuid(&mut self) -> String {
        let (high, low) = (self.lot.next_u64(), self.lot.next_u64());
        format!(
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
            high >> 32,
            high >> 16 & 0xFFFF,
            high & 0xFFF,
            low >> 48 & 0xFFF,
            low & 0xFFFF_FFFF_FFFF
        )
    }

    pub(super) fn index_of(&self, slack_app_id: &str) -> Option<usize> {
        self.apps.iter().position(|app| app.id == slack_app_id)
    }

    /// Takes up an app, or one more token and more teams of an app that is known.
    pub(super) fn register(&mut self, new: NewApp) -> Result<usize, String> {
        let token = AppToken::parse(&new.app_token).map_err(|error| error.to_string())?;
        for bot in new.teams.iter().filter_map(|team| team.bot_token.as_deref()) {
            BotToken::parse(bot).map_err(|error| error.to_string())?;
        }
        let id = new.slack_app_id.unwrap_or_else(|| id_of(&token));
        let index = self.index_of(&id).unwrap_or_else(|| self.add(&id));
        self.app_tokens.insert(new.app_token, index);
        for team in new.teams {
            self.install(index, team);
        }
        if let Some(app) = self.apps.get(index)
            && app.teams.is_empty()
        {
            let team_id = format!("T{}", id.trim_start_matches('A'));
            self.install(index, Team { team_id, bot_token: None, enterprise_id: None });
        }
        Ok(index)
    }

    /// The app of an app-level token, taken up now if unknown apps are welcome.
    pub(super) fn app_of(&mut self, token: &str) -> Option<usize> {
        if let Some(index) = self.app_tokens.get(token) {
            return Some(*index);
        }
        if !self.auto_register {
            return None;
        }
        let new = NewApp { app_token: token.into(), slack_app_id: None, teams: Vec::new() };
        self.register(new).ok()
    }

    /// The app and team of a bot token. An unknown one, if welcome, belongs to the first app that has a team without a
    /// token: whoever brings one app and one bot need say nothing.
    pub(super) fn team_of(&mut self, token: &str) -> Option<(usize, Team)> {
        if !self.bot_tokens.contains_key(token) && self.auto_register && BotToken::parse(token).is_ok() {
            let (index, app) = self
                .apps
                .iter()
                .enumerate()
                .find(|(_, app)| app.teams.iter().any(|team| team.bot_token.is_none()))?;
            let team = app.teams.iter().find(|team| team.bot_token.is_none())?.clone();
            self.install(index, Team { bot_token: Some(token.into()), ..team });
        }
        let (index, team_id) = self.bot_tokens.get(token)?;
        let team = self.apps.get(*index)?.teams.iter().find(|team| team.team_id == *team_id)?;
        Some((*index, team.clone()))
    }

    /// The bot token of an app's team is no good from now on, as Slack has it when it tells so by an event.
    pub(super) fn revoke_bot(&mut self, app: usize, team_id: &str, error: &'static str) {
        let teams = self.apps.get(app).map(|app| app.teams.iter()).into_iter().flatten();
        let token = teams.filter(|team| team.team_id == team_id).find_map(|team| team.bot_token.clone());
        if let Some(token) = token {
            self.revoked.insert(token, error);
        }
    }

    /// The error by which a bot token is refused.
    pub(super) fn refusal_of_bot(&self, team: &Team) -> Option<&'static str> {
        self.revoked.get(team.bot_token.as_deref()?).copied()
    }

    fn add(&mut self, id: &str) -> usize {
        self.apps.push(App {
            id: id.into(),
            hash: hex(&Sha256::digest(id.as_bytes())),
            teams: Vec::new(),
            refusal: None,
            ghosts: 0,
            registered: Vec::new(),
            turn: 0,
            waiting: VecDeque::new(),
            window: None,
            forgotten: 0,
            recorded: 0,
        });
        self.record.apps.push(AppRecord { slack_app_id: id.into(), ..AppRecord::default() });
        self.apps.len() - 1
    }

    fn install(&mut self, index: usize, team: Team) {
        if let Some(token) = &team.bot_token {
            self.bot_tokens.insert(token.clone(), (index, team.team_id.clone()));
            // Installed again it is good again.
            self.revoked.remove(token);
        }
        let Some(app) = self.apps.get_mut(index) else { return };
        match app.teams.iter_mut().find(|known| known.team_id == team.team_id) {
            Some(known) => *known = team,
            None => app.teams.push(team),
        }
    }

    /// A socket of this app was upgraded; true when it is one too many.
    pub(super) fn add_socket(&mut self, app: usize, number: u64, wake: Arc<Notify>) -> bool {
        let max = self.rules.max_sockets;
        let Some(owner) = self.apps.get_mut(app) else { return true };
        let too_many = owner.registered.len() + owner.ghosts >= max;
        if !too_many {
            owner.registered.push(number);
        }
        if let Some(record) = self.record.apps.get_mut(app) {
            record.counts.max_sockets = record.counts.max_sockets.max(owner.registered.len() as u64);
        }
        let socket = Socket {
            app,
            hello: false,
            announced: false,
            in_flight: 0,
            out: VecDeque::new(),
            out_bytes: 0,
            wake,
        };
        self.sockets.insert(number, socket);
        too_many
    }

    /// A socket is no longer live: no payload goes to it, Slack no longer counts it.
    pub(super) fn retire(&mut self, number: u64, at: At) {
        let Some(socket) = self.sockets.get_mut(&number) else { return };
        socket.hello = false;
        let index = socket.app;
        if let Some(app) = self.apps.get_mut(index) {
            app.registered.retain(|registered| *registered != number);
        }
        if let Some(record) = self.record.apps.get_mut(index).and_then(|app| app.socket_mut(number)) {
            record.live_until.get_or_insert(at);
        }
    }

    /// Connections Slack believes the app has.
    pub(super) fn num_connections(&self, app: usize) -> usize {
        self.apps.get(app).map_or(0, |app| app.registered.len() + app.ghosts)
    }

    /// The socket the next payload goes to.
    pub(super) fn pick(&mut self, app: usize) -> Option<u64> {
        let both = self.rules.deliver_to_draining;
        let random = self.rules.spread == super::options::Spread::Random;
        let owner = self.apps.get_mut(app)?;
        let sockets = &self.sockets;
        let live = |number: &&u64| sockets.get(*number).is_some_and(|socket| socket.hello);
        let fresh = |number: &&u64| {
            sockets.get(*number).is_some_and(|socket| socket.hello && (both || !socket.announced))
        };
        let any_fresh = owner.registered.iter().any(|number| fresh(&number));
        let wanted = |number: &&u64| if any_fresh { fresh(number) } else { live(number) };
        let count = owner.registered.iter().filter(wanted).count();
        owner.turn = if random {
            usize::try_from(self.lot.next_u32()).unwrap_or_default()
        } else {
            owner.turn.wrapping_add(1)
        };
        owner.registered.iter().filter(wanted).nth(owner.turn.checked_rem(count)?).copied()
    }
}

/// So many `response_url`s are known at most; above that new ones are born used up.
const KEPT_RESPONSES: usize = 100_000;
/// A `response_url` is good for five uses (docs: handling user interaction).
pub(super) const RESPONSE_USES: u32 = 5;
/// And for thirty minutes.
pub(super) const RESPONSE_LIFE: Duration = Duration::from_mins(30);

/// The id a token's text names, else one made from the token.
fn id_of(token: &AppToken) -> String {
    token.slack_app_id().map_or_else(
        || format!("A{}", token.fingerprint().to_ascii_uppercase().chars().take(10).collect::<String>()),
        str::to_owned,
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
