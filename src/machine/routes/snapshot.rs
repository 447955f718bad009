use std::collections::HashMap;

use super::pattern::Pattern;
use super::{AckMode, HandlerSet, Match, Route};
use crate::event::{Event, Kind};
use crate::ids::{WorkspaceId, WorkspaceName};
use crate::protocol::interaction::{self, Interaction};

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Who gets it.
    pub handlers: HandlerSet,
    /// Whose answers its ack is to carry, if they answer at all: of those whose routes say so, or say nothing. Nobody's where no ack of its
    /// kind carries any.
    pub answering: HandlerSet,
    /// What its ack means.
    pub ack: AckMode,
}

/// A workspace that routes may be about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedWorkspace {
    /// Which.
    pub workspace: WorkspaceId,
    /// What its owner calls it.
    pub name: WorkspaceName,
    /// Its labels: keys and values. Those that no route asks for may be left out.
    pub labels: Vec<(String, String)>,
}

/// All routes of a node, made to be asked about every event: where no route asks for more than kinds and types that takes no allocation
/// and no look into the payload.
#[derive(Debug)]
pub struct Routes {
    /// Where there are no routes at all: everything is for everybody.
    everybody: Option<HandlerSet>,
    /// What the ack of an event means that no route says more of.
    default: AckMode,
    /// The same, where no route says anything else.
    only_ack: Option<AckMode>,
    /// The rules for events of a kind.
    rules: [Vec<Rule>; 4],
    /// Which of the routes that ask for it are about a workspace, by their places among those.
    whose: HashMap<WorkspaceId, Box<[bool]>>,
}

/// A route, as it is for events of one kind.
#[derive(Debug)]
struct Rule {
    gives: HandlerSet,
    answering: HandlerSet,
    ack: AckMode,
    types: Box<[Pattern]>,
    callback_ids: Box<[Pattern]>,
    action_ids: Box<[Pattern]>,
    /// Its place among the routes that ask whose an event is.
    whose: Option<usize>,
}

impl Routes {
    /// The snapshot of these routes, for a node with these handlers. Routes to handlers that it does not have do nothing on it.
    pub fn new(
        routes: &[Route],
        handlers: &[String],
        workspaces: &[NamedWorkspace],
        default: AckMode,
    ) -> Self {
        let everybody = routes.is_empty().then(|| HandlerSet::first(handlers.len()));
        let mut rules = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
        let mut asking: Vec<&Match> = Vec::new();
        for route in routes.iter().filter(|route| route.is_on) {
            let Some(handler) = handlers.iter().position(|name| *name == route.handler) else { continue };
            let whose = route.matches.asks_whose().then_some(asking.len());
            if whose.is_some() {
                asking.push(&route.matches);
            }
            for (rules, kind) in rules.iter_mut().zip(KINDS) {
                if route.matches.may_be(kind) {
                    rules.push(Rule::new(route, HandlerSet::one(handler), kind, whose, default));
                }
            }
        }
        let only_ack = Some(default).filter(|_| rules.iter().flatten().all(|rule| rule.ack == default));
        let whose = |of: &NamedWorkspace| {
            let about = asking.iter().map(|matches| matches.is_about(&of.name, &of.labels)).collect();
            (of.workspace, about)
        };
        Self { everybody, default, only_ack, rules, whose: workspaces.iter().map(whose).collect() }
    }

    /// Who gets this event, and what its ack means.
    pub fn ask(&self, event: &Event) -> Verdict {
        let mut verdict =
            Verdict { handlers: HandlerSet::NONE, answering: HandlerSet::NONE, ack: self.default };
        if let Some(everybody) = self.everybody {
            verdict.handlers = everybody;
            if takes_answers(event.kind) {
                verdict.answering = everybody;
            }
            return verdict;
        }
        let [events_api, interactive, slash_commands, unknown] = &self.rules;
        let rules = match event.kind {
            Kind::EventsApi => events_api,
            Kind::Interactive => interactive,
            Kind::SlashCommands => slash_commands,
            Kind::Unknown => unknown,
        };
        let mut ack = None;
        let mut read = None;
        for rule in rules {
            let adds_nothing = verdict.handlers.has(rule.gives)
                && verdict.answering.has(rule.answering)
                && ack.is_some_and(|ack| ack >= rule.ack);
            if adds_nothing || !self.holds(rule, event, &mut read) {
                continue;
            }
            verdict.handlers = verdict.handlers.and(rule.gives);
            verdict.answering = verdict.answering.and(rule.answering);
            ack = ack.max(Some(rule.ack));
        }
        verdict.ack = ack.unwrap_or(self.default);
        verdict
    }

    /// Is there no route at all, so that everybody gets everything?
    pub const fn is_empty(&self) -> bool {
        self.everybody.is_some()
    }

    /// What every ack means, where the routes say one thing: then no event has to be asked about.
    pub const fn only_ack(&self) -> Option<AckMode> {
        self.only_ack
    }

    fn holds<'a>(&self, rule: &Rule, event: &'a Event, read: &mut Option<Interaction<'a>>) -> bool {
        if !fits(&rule.types, &event.kind_type) {
            return false;
        }
        if let Some(at) = rule.whose {
            let about = event.workspace.and_then(|workspace| self.whose.get(&workspace));
            if !about.and_then(|about| about.get(at)).copied().unwrap_or_default() {
                return false;
            }
        }
        if rule.callback_ids.is_empty() && rule.action_ids.is_empty() {
            return true;
        }
        let read = read.get_or_insert_with(|| interaction::read(&event.payload));
        let by_callback = rule.callback_ids.is_empty()
            || read.callback_id.as_deref().is_some_and(|id| fits(&rule.callback_ids, id));
        let by_action =
            rule.action_ids.is_empty() || read.action_ids.iter().any(|id| fits(&rule.action_ids, id));
        by_callback && by_action
    }
}

/// Every kind, in the order of the rules.
const KINDS: [Kind; 4] = [Kind::EventsApi, Kind::Interactive, Kind::SlashCommands, Kind::Unknown];

impl Rule {
    fn new(route: &Route, gives: HandlerSet, kind: Kind, whose: Option<usize>, default: AckMode) -> Self {
        let matches = &route.matches;
        let ack = match (route.ack, kind) {
            // No answer reaches anybody there.
            (Some(AckMode::Answered), Kind::EventsApi) => AckMode::Stored,
            (Some(ack), _) => ack,
            (None, _) => default,
        };
        let types = if kind == Kind::SlashCommands { &matches.commands } else { &matches.types };
        Self {
            gives,
            answering: match route.ack {
                Some(AckMode::Answered) | None if takes_answers(kind) => gives,
                Some(AckMode::Answered | AckMode::Stored | AckMode::Received) | None => HandlerSet::NONE,
            },
            ack,
            types: patterns(types),
            callback_ids: patterns(&matches.callback_ids),
            action_ids: patterns(&matches.action_ids),
            whose,
        }
    }
}

/// Can an ack of this kind of envelope carry an answer?
const fn takes_answers(kind: Kind) -> bool {
    match kind {
        Kind::Interactive | Kind::SlashCommands => true,
        Kind::EventsApi | Kind::Unknown => false,
    }
}

fn patterns(written: &[String]) -> Box<[Pattern]> {
    written.iter().map(|written| Pattern::of(written)).collect()
}

/// Does the text fit one of these? None of them: it does.
fn fits(patterns: &[Pattern], text: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.fits(text))
}
