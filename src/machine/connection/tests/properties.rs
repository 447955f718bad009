//! What holds for any order of inputs about any links, with any time between them and any jumps of the clocks.

use proptest::prelude::*;

use super::*;

/// An input, before it is known which links there are.
#[derive(Clone, Copy, Debug)]
struct Draft {
    kind: u8,
    /// Picks a link: one that is held, one that is gone, or one that is still to come.
    link: u8,
    detail: u8,
}

/// What the shell knows: counted from what it was told to do, beside the machine.
#[derive(Default)]
struct Shell {
    /// Opened or dialled, and not yet down, abandoned or refused.
    held: Vec<Generation>,
    gone: Vec<Generation>,
    /// Dialled, of these; only they can come up.
    dialled: Vec<Generation>,
    up: Vec<Generation>,
    /// Stopped, of these.
    stopped: Vec<Generation>,
    state: Option<State>,
    wanted: usize,
}

proptest! {
    #[test]
    fn any_inputs_in_any_order_keep_the_laws(
        seed in any::<u64>(),
        links in 0_u8..12,
        known in any::<bool>(),
        drafts in prop::collection::vec(step(), 0..120),
    ) {
        let mut now = Now { mono: HOUR, wall_ms: 1_700_000_000_000 };
        let slack_app_id = known.then(|| "A1".into());
        let settings = Settings { links, slack_app_id, timing: &Timing::NODE };
        let mut connection = Connection::new(now, settings, seed, Generations::default());
        let mut shell = Shell { wanted: usize::from(links.clamp(1, 9)), ..Shell::default() };
        for (draft, wait, jump) in drafts {
            now = now.after(Duration::from_millis(wait));
            now.wall_ms += i64::from(jump.unwrap_or(0));
            let timer = connection.poll_timeout();
            if let Some(at) = timer.filter(|at| *at <= now.mono) {
                shell.give(&mut connection, Now { mono: at, ..now }, Input::Timeout)?;
            }
            let input = shell.input(draft);
            shell.give(&mut connection, now, input)?;
        }
        // From here on nothing more comes but the time and the ends of what was stopped.
        for generation in shell.stopped.clone() {
            shell.give(&mut connection, now, Input::LinkDown(generation, Code::OperatorDisconnect))?;
        }
        let mut wakes = 0;
        while let Some(at) = connection.poll_timeout().filter(|at| *at <= now.mono + 10 * HOUR) {
            shell.give(&mut connection, Now { mono: at, ..now }, Input::Timeout)?;
            wakes += 1;
            prop_assert!(wakes < 200, "it never comes to rest");
        }
    }

    #[test]
    fn whatever_happened_before_a_token_a_connect_and_a_slack_that_works_make_it_ready(
        seed in any::<u64>(),
        links in 1_u8..=9,
        drafts in prop::collection::vec(step(), 0..60),
    ) {
        let mut now = Now { mono: HOUR, wall_ms: 1_700_000_000_000 };
        let settings = Settings { links, slack_app_id: None, timing: &Timing::NODE };
        let mut connection = Connection::new(now, settings, seed, Generations::default());
        let mut shell = Shell { wanted: usize::from(links), ..Shell::default() };
        for (draft, wait, _) in drafts {
            now = now.after(Duration::from_millis(wait));
            let input = shell.input(draft);
            shell.give(&mut connection, now, input)?;
        }
        // Past every Retry-After.
        now = now.after(2 * HOUR);
        let wish = Wish { on: true, links: u8::try_from(shell.wanted).unwrap(), token: Token::Changed, candidate: Token::Absent };
        shell.give(&mut connection, now, Input::Configure(wish))?;
        shell.give(&mut connection, now, Input::Connect(Code::OperatorConnect))?;
        for _ in 0..400 {
            now = now.after(Duration::from_millis(100));
            let Status { health, links, slack_app_id: app_id, .. } = connection.status();
            if health == Health::Ok && links.len() == shell.wanted {
                break;
            }
            for link in links {
                let generation = link.generation;
                let input = match link.state {
                    LinkState::Opening if shell.dialled.contains(&generation) => {
                        Input::LinkUp(generation, Hello { app_id: app_id.clone(), ..Hello::default() })
                    }
                    LinkState::Opening => Input::UrlIssued(generation),
                    LinkState::Closing => Input::LinkDown(generation, Code::OperatorDisconnect),
                    LinkState::Live | LinkState::Draining => Input::Timeout,
                };
                shell.give(&mut connection, now, input)?;
            }
        }
        let status = connection.status();
        prop_assert_eq!(status.state, State::Ready);
        let live = status.links.iter().filter(|link| link.state == LinkState::Live).count();
        prop_assert_eq!(live, shell.wanted);
    }
}

fn step() -> impl Strategy<Value = (Draft, u64, Option<i32>)> {
    let draft = (0_u8..40, any::<u8>(), any::<u8>());
    let draft = draft.prop_map(|(kind, link, detail)| Draft { kind, link, detail });
    let wait = prop_oneof![Just(0_u64), 0_u64..2000, 0_u64..60_000, 0_u64..20_000_000];
    (draft, wait, prop::option::weighted(0.1, any::<i32>()))
}

impl Shell {
    fn input(&mut self, draft: Draft) -> Input {
        let generation = self.pick(draft.link);
        let detail = usize::from(draft.detail);
        match draft.kind {
            0 | 1 => Input::Connect(Code::OperatorConnect),
            2 if detail < 100 => Input::Disconnect(Code::OperatorDisconnect),
            3 => Input::Reconnect,
            4 => {
                let links = draft.detail % 12;
                self.wanted = usize::from(links.clamp(1, 9));
                let tokens = [Token::Same, Token::Changed, Token::Absent, Token::Unreadable];
                let (token, candidate) = (tokens[detail / 4 % 4], tokens[detail / 16 % 4]);
                Input::Configure(Wish { on: detail % 4 > 0, links, token, candidate })
            }
            5 | 6 => {
                let links = u8::try_from(self.wanted).unwrap();
                Input::Configure(Wish { on: true, links, token: Token::Same, candidate: Token::Changed })
            }
            7 if detail < 50 => Input::Halt(Code::DuplicateInstallation),
            7 if detail < 100 => Input::Lift(Code::DuplicateInstallation),
            8..16 => Input::UrlIssued(generation),
            16..18 => {
                let classes =
                    [Class::Fatal, Class::FatalForever, Class::Transient, Class::Slow, Class::Unknown];
                let retry_after = (detail % 4 == 0).then(|| Duration::from_secs(draft.detail.into()) * 100);
                let code = Code::ALL[detail % Code::ALL.len()];
                Input::OpenFailed(generation, OpenFailure { code, class: classes[detail % 5], retry_after })
            }
            18..21 => Input::LinkOpened(generation),
            21..29 => {
                let app_id = ["A1", "A1", "A1", "A2"][detail % 4];
                let lifetime = (detail % 3 > 0).then(|| Duration::from_secs(draft.detail.into()) * 70);
                let hello = Hello { app_id: Some(app_id.into()), lifetime, ..Hello::default() };
                Input::LinkUp(generation, hello)
            }
            29..32 => Input::LinkDraining(generation, Code::RefreshRequested, 10 * SECOND),
            32..36 => {
                let codes =
                    [Code::ConnectionLost, Code::ClosedBySlack, Code::TooManyWebsockets, Code::LinkDisabled];
                Input::LinkDown(generation, codes[detail % 4])
            }
            _ => Input::Timeout,
        }
    }

    fn pick(&self, link: u8) -> Generation {
        let from = |links: &[Generation]| links.get(usize::from(link) % links.len().max(1)).copied();
        let future = Generation(1_000_000 + u64::from(link));
        match link % 8 {
            0 => from(&self.gone).unwrap_or(future),
            1 => future,
            _ => from(&self.held).unwrap_or(future),
        }
    }

    /// Gives the input, does what is asked, and checks every law there is.
    #[expect(clippy::needless_pass_by_value, reason = "as the machine takes it")]
    fn give(&mut self, connection: &mut Connection, now: Now, input: Input) -> Result<(), TestCaseError> {
        let before = connection.status();
        let about = input.generation();
        let is_stale = about.is_some_and(|generation| !self.held.contains(&generation));
        // Of a link that was draining already this is no news: it may have to make room for a successor that is due now.
        let is_live = |generation: &Generation| {
            let link = before.links.iter().find(|link| link.generation == *generation);
            link.is_some_and(|link| link.state == LinkState::Live)
        };
        let draining = about.filter(is_live).filter(|_| matches!(input, Input::LinkDraining(..)));
        self.expect_released(&before, &input);
        connection.handle(now, input.clone());
        let mut changed = false;
        while let Some(action) = connection.poll_action() {
            changed = true;
            self.perform(&action, draining)?;
        }
        let status = connection.status();
        if is_stale {
            prop_assert!(!changed, "a stale {:?} did something", input);
            prop_assert_eq!(&status, &before);
            return Ok(());
        }
        let shown: Vec<_> = status.links.iter().map(|link| link.generation).collect();
        prop_assert_eq!(&shown, &self.held, "the links shown are those held, after {:?}", input);
        let ready =
            status.links.iter().any(|link| matches!(link.state, LinkState::Live | LinkState::Draining));
        prop_assert_eq!(status.state == State::Ready, ready);
        if before.state == State::Ready && !ready {
            let may = matches!(input, Input::LinkDown(..) | Input::Disconnect(_) | Input::Halt(_))
                || matches!(input, Input::Configure(wish) if !wish.on || wish.token == Token::Absent);
            prop_assert!(may, "{:?} left it without a link", input);
        }
        prop_assert_eq!(status.state, self.state.unwrap_or(State::Disconnected), "each change is told");
        if status.health == Health::Ok {
            prop_assert_eq!((status.state, status.reason), (State::Ready, None));
        } else if status.state != State::Disconnected {
            prop_assert!(status.reason.is_some(), "{:?} without a reason", status);
        }
        prop_assert!(connection.poll_timeout().is_none_or(|at| at > now.mono), "a timer in the past");
        Ok(())
    }

    /// A link leaves by its own end only.
    fn expect_released(&mut self, before: &Status, input: &Input) {
        let opening = |generation| {
            before.links.iter().any(|link| link.generation == generation && link.opened_ms.is_none())
        };
        let Some(generation) = input.generation() else { return };
        if matches!(input, Input::LinkOpened(_)) && self.dialled.contains(&generation) {
            // Once the socket is open, a failed opening is no news of it.
            self.up.push(generation);
        }
        let was_opening =
            opening(generation) && !self.stopped.contains(&generation) && !self.up.contains(&generation);
        let is_over = match input {
            Input::LinkDown(..) => true,
            Input::OpenFailed(..) => was_opening,
            Input::Connect(_)
            | Input::Disconnect(_)
            | Input::Reconnect
            | Input::Configure(_)
            | Input::Halt(_)
            | Input::Lift(_)
            | Input::UrlIssued(_)
            | Input::LinkOpened(_)
            | Input::LinkUp(..)
            | Input::LinkDraining(..)
            | Input::LinkPong(..)
            | Input::Counted(_)
            | Input::Timeout => false,
        };
        if !is_over {
            return;
        }
        if self.held.contains(&generation) {
            self.held.retain(|held| *held != generation);
            self.gone.push(generation);
        }
    }

    fn perform(&mut self, action: &Action, draining: Option<Generation>) -> Result<(), TestCaseError> {
        match action {
            Action::Open { generation, .. } => {
                prop_assert!(!self.gone.contains(generation) && !self.held.contains(generation));
                self.held.push(*generation);
                let allowed = self.wanted + 1;
                prop_assert!(
                    self.held.len() <= allowed.min(10),
                    "{} sockets of {}",
                    self.held.len(),
                    allowed
                );
            }
            Action::Dial(generation) => {
                prop_assert!(self.held.contains(generation));
                self.dialled.push(*generation);
            }
            Action::Abandon(generation) => {
                prop_assert!(!self.dialled.contains(generation), "what is dialled is stopped, not abandoned");
                prop_assert!(self.held.contains(generation));
                self.held.retain(|held| held != generation);
                self.gone.push(*generation);
            }
            Action::Stop(generation) => {
                prop_assert!(self.dialled.contains(generation) && self.held.contains(generation));
                prop_assert!(!self.stopped.contains(generation), "stopped twice");
                prop_assert!(
                    draining != Some(*generation),
                    "a link Slack is going to close is left to Slack"
                );
                self.stopped.push(*generation);
            }
            Action::Retire(generation, within) => {
                prop_assert!(self.held.contains(generation));
                prop_assert!(*within >= MINUTE);
            }
            Action::Changed { from, to, .. } => {
                prop_assert_eq!(*from, self.state.unwrap_or(State::Disconnected));
                prop_assert_ne!(from, to);
                self.state = Some(*to);
            }
            Action::Promote | Action::DropCandidate(_) | Action::LearnAppId(_) | Action::Count => {}
        }
        Ok(())
    }
}
