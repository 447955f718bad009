//! Handlers by name.

use std::time::Duration;

use actix::Recipient;
use async_trait::async_trait;

use super::{Context, Delivery, Echo, Handler, Log, Outcome};
use crate::event::Event;
use crate::machine::retry::Retry;
use crate::machine::routes::HandlerSet;
use crate::protocol::order::conversation_key;

/// Makes a handler on the thread it will run on, again after a crash.
type Make = Box<dyn Fn(&Context) -> Box<dyn Handler> + Send + Sync>;

/// A registered handler: its name, how it is made, under which limits it runs.
pub struct Plugin {
    /// By what routes and figures name it.
    pub name: String,
    /// Its limits.
    pub options: Options,
    make: Make,
}

/// The limits a handler runs under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Deliveries handled at once.
    pub concurrency: usize,
    /// How long one delivery may take.
    pub within: Duration,
    /// What is handled one after the other.
    pub order: Order,
    /// How long a delivery that has failed holds up those behind it in its order, from its first failure; then they pass it, and its next
    /// tries are out of order. Zero: not at all; none: until it is done or dead.
    pub hold: Option<Duration>,
    /// When a delivery that has failed is tried again.
    pub retry: Retry,
    /// Does it answer slash commands, submitted views and menus by [`Outcome::Answer`]? Their acks wait for it then, 2.5 s at most.
    pub answers: bool,
}

/// What a handler gets one after the other, in the order it came in; all else it gets side by side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Nothing.
    #[default]
    None,
    /// The events of a conversation. Those that name none are in no order.
    Conversation,
    /// The events of a workspace.
    Workspace,
}

impl Order {
    /// Its name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Conversation => "conversation",
            Self::Workspace => "workspace",
        }
    }

    /// What all events share that come one after the other within a workspace.
    pub fn key(self, event: &Event) -> Option<i64> {
        match self {
            Self::None => None,
            Self::Conversation => conversation_key(event.kind, &event.payload),
            Self::Workspace => Some(0),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            concurrency: 64,
            within: Duration::from_secs(30),
            order: Order::None,
            hold: Some(Duration::from_mins(1)),
            retry: Retry::default(),
            answers: false,
        }
    }
}

/// What cannot be registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The name is taken.
    #[error("a handler named '{0}' is registered already")]
    Taken(String),
    /// It could never handle anything.
    #[error("the handler '{0}' may handle nothing at once: its concurrency is 0")]
    Idle(String),
    /// It would never be given anything.
    #[error("the handler '{0}' may try nothing: its retry.attempts is 0")]
    Hopeless(String),
    /// There are as many as there can be.
    #[error("a node has {most} handlers at most", most = HandlerSet::MOST)]
    Full,
    /// Nobody knows the name.
    #[error("there is no handler named '{name}'; known: {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
}

impl RegistryError {
    /// Names what else there is.
    fn or_own(self, own: &[String]) -> Self {
        match self {
            Self::Unknown { name, known } if !own.is_empty() => {
                Self::Unknown { name, known: format!("{}, {known}", own.join(", ")) }
            }
            other @ (Self::Taken(_)
            | Self::Idle(_)
            | Self::Hopeless(_)
            | Self::Full
            | Self::Unknown { .. }) => other,
        }
    }
}

/// The handlers a node runs.
#[derive(Default)]
pub struct Registry {
    plugins: Vec<Plugin>,
}

impl Registry {
    /// Registers a plugin under a name. `make` runs on the handler's own thread, and again after a crash.
    pub fn register<H: Handler>(
        &mut self,
        name: &str,
        options: Options,
        make: impl Fn(&Context) -> H + Send + Sync + 'static,
    ) -> Result<(), RegistryError> {
        if self.plugins.iter().any(|plugin| plugin.name == name) {
            return Err(RegistryError::Taken(name.into()));
        }
        if self.plugins.len() >= HandlerSet::MOST {
            return Err(RegistryError::Full);
        }
        if options.concurrency == 0 {
            return Err(RegistryError::Idle(name.into()));
        }
        if options.retry.attempts == 0 {
            return Err(RegistryError::Hopeless(name.into()));
        }
        let make: Make = Box::new(move |context| Box::new(make(context)));
        self.plugins.push(Plugin { name: name.into(), options, make });
        Ok(())
    }

    /// Registers an actor that lives elsewhere, by its recipient.
    pub fn register_actor(
        &mut self,
        name: &str,
        options: Options,
        recipient: Recipient<Delivery>,
    ) -> Result<(), RegistryError> {
        self.register(name, options, move |_| Elsewhere(recipient.clone()))
    }

    /// Registers one of the handlers that come with Tautline.
    pub fn register_builtin(&mut self, name: &str) -> Result<(), RegistryError> {
        match name {
            "log" => self.register(name, Options::default(), |context| Log::new(context.clone())),
            "echo" => {
                let options = Options { answers: true, ..Options::default() };
                self.register(name, options, |context| Echo::new(context.clone()))
            }
            other => Err(RegistryError::Unknown { name: other.into(), known: "log, echo".into() }),
        }
    }

    /// What they are called, in the order they were registered.
    pub fn names(&self) -> Vec<String> {
        self.plugins.iter().map(|plugin| plugin.name.clone()).collect()
    }

    /// Their limits, in the same order.
    pub fn options(&self) -> Vec<Options> {
        self.plugins.iter().map(|plugin| plugin.options).collect()
    }

    /// The names of those that answer.
    pub fn answering(&self) -> Vec<String> {
        self.plugins
            .iter()
            .filter(|plugin| plugin.options.answers)
            .map(|plugin| plugin.name.clone())
            .collect()
    }

    /// Keeps those of these names alone, in this order; what is not registered is looked for among those that come with Tautline.
    pub fn select(&mut self, names: &[String]) -> Result<(), RegistryError> {
        let mut own = std::mem::take(&mut self.plugins);
        let known: Vec<_> = own.iter().map(|plugin| plugin.name.clone()).collect();
        for name in names {
            match own.iter().position(|plugin| plugin.name == *name) {
                Some(at) => self.plugins.push(own.swap_remove(at)),
                None if self.plugins.iter().any(|plugin| plugin.name == *name) => {
                    return Err(RegistryError::Taken(name.clone()));
                }
                None => self.register_builtin(name).map_err(|error| error.or_own(&known))?,
            }
        }
        Ok(())
    }

    /// The plugins, in the order they were registered.
    pub fn into_plugins(self) -> Vec<Plugin> {
        self.plugins
    }
}

impl Plugin {
    /// Makes the handler. May panic if the plugin's own constructor does.
    pub fn make(&self, context: &Context) -> Box<dyn Handler> {
        (self.make)(context)
    }
}

/// An actor that lives elsewhere, seen as a plugin.
struct Elsewhere(Recipient<Delivery>);

#[async_trait(?Send)]
impl Handler for Elsewhere {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        // A dead or panicked actor cannot say what it did; whoever registered it may start it again.
        self.0.send(delivery).await.unwrap_or(Outcome::Retry { after: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_once_and_an_unknown_one_is_told_what_there_is() {
        let mut registry = Registry::default();
        registry.register_builtin("log").unwrap();
        assert_eq!(registry.register_builtin("log"), Err(RegistryError::Taken("log".into())));
        let error = registry.register_builtin("lgo").unwrap_err();
        assert_eq!(error.to_string(), "there is no handler named 'lgo'; known: log, echo");
        let idle = Options { concurrency: 0, ..Options::default() };
        assert_eq!(registry.register("idle", idle, |_| Silent), Err(RegistryError::Idle("idle".into())));
        assert_eq!(registry.into_plugins().len(), 1);
    }

    #[test]
    fn there_are_no_more_handlers_than_routes_can_name() {
        let mut registry = Registry::default();
        for number in 0..HandlerSet::MOST {
            registry.register(&number.to_string(), Options::default(), |_| Silent).unwrap();
        }
        assert_eq!(registry.register("more", Options::default(), |_| Silent), Err(RegistryError::Full));
        assert_eq!(registry.names().len(), HandlerSet::MOST);
    }

    #[test]
    fn settings_choose_among_ones_own_handlers_and_those_that_come_along() {
        let registry = || {
            let mut registry = Registry::default();
            registry.register("mine", Options::default(), |_| Silent).unwrap();
            registry.register("other", Options::default(), |_| Silent).unwrap();
            registry
        };
        let select = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            let mut registry = registry();
            registry.select(&names)?;
            let plugins = registry.into_plugins().into_iter();
            Ok::<_, RegistryError>(plugins.map(|plugin| plugin.name).collect::<Vec<_>>())
        };
        assert_eq!(select(&["log", "mine"]).unwrap(), ["log", "mine"]);
        assert_eq!(select(&["mine", "mine"]).unwrap_err(), RegistryError::Taken("mine".into()));
        let unknown = select(&["min"]).unwrap_err().to_string();
        assert_eq!(unknown, "there is no handler named 'min'; known: mine, other, log, echo");
    }

    struct Silent;

    #[async_trait(?Send)]
    impl Handler for Silent {
        async fn handle(&self, _: Delivery) -> Outcome {
            Outcome::Done
        }
    }
}
