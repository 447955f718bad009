//! What is on its way to the handlers, and up to where everything is done.

use std::collections::VecDeque;
use std::time::Duration;

use crate::ids::Seq;

#[derive(Debug)]
struct Entry {
    seq: Seq,
    /// Handlers still at work.
    left: u32,
    /// When it was admitted.
    at: Duration,
}

/// Events between the journal and the end of their handling, in the order of their seqs.
#[derive(Debug)]
pub struct Window {
    /// Done ones stay until all before them are done.
    events: VecDeque<Entry>,
    undone: usize,
    last: Seq,
}

impl Window {
    /// An empty window behind `settled_to`.
    pub fn new(settled_to: Seq) -> Self {
        Self { events: VecDeque::new(), undone: 0, last: settled_to }
    }

    /// The last event admitted.
    pub fn last(&self) -> Seq {
        self.last
    }

    /// How many events are not done.
    pub fn undone(&self) -> usize {
        self.undone
    }

    /// Takes in an event that `handlers` handlers want. Seqs not above the last are refused: they were here before.
    pub fn admit(&mut self, seq: Seq, handlers: u32, at: Duration) -> bool {
        if seq <= self.last {
            return false;
        }
        self.last = seq;
        if handlers > 0 {
            self.undone += 1;
        }
        if handlers > 0 || !self.events.is_empty() {
            self.events.push_back(Entry { seq, left: handlers, at });
        }
        true
    }

    /// What lies up to `seq` will never come.
    pub fn skip_to(&mut self, seq: Seq) {
        self.last = self.last.max(seq);
    }

    /// One handler is done with an event; true when it was the last one.
    pub fn done(&mut self, seq: Seq) -> bool {
        let Ok(at) = self.events.binary_search_by_key(&seq, |entry| entry.seq) else { return false };
        let Some(entry) = self.events.get_mut(at).filter(|entry| entry.left > 0) else { return false };
        entry.left -= 1;
        let finished = entry.left == 0;
        if finished {
            self.undone -= 1;
            while self.events.front().is_some_and(|entry| entry.left == 0) {
                self.events.pop_front();
            }
        }
        finished
    }

    /// Those that were admitted up to then and are not done.
    pub fn undone_since(&self, then: Duration) -> impl Iterator<Item = Seq> {
        let old = self.events.iter().take_while(move |entry| entry.at <= then);
        old.filter(|entry| entry.left > 0).map(|entry| entry.seq)
    }

    /// Up to here everything is done.
    pub fn settled_to(&self) -> Seq {
        self.events.front().map_or(self.last, |entry| Seq(entry.seq.0 - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn what_is_not_done_for_too_long_is_found_oldest_first() {
        let mut window = Window::new(Seq(0));
        for (seq, second) in [(1, 1), (2, 1), (3, 2), (4, 3)] {
            window.admit(Seq(seq), 1, Duration::from_secs(second));
        }
        window.done(Seq(2));
        assert_eq!(window.undone_since(Duration::from_secs(2)).collect::<Vec<_>>(), [Seq(1), Seq(3)]);
    }

    #[test]
    fn settled_to_stops_below_the_oldest_event_that_is_not_done() {
        let mut window = Window::new(Seq(10));
        assert_eq!(window.settled_to(), Seq(10));
        assert!(
            window.admit(Seq(12), 1, NOW) && window.admit(Seq(13), 1, NOW) && window.admit(Seq(20), 1, NOW)
        );
        assert!(window.done(Seq(13)));
        assert_eq!(window.settled_to(), Seq(11));
        assert!(window.done(Seq(12)));
        assert_eq!((window.settled_to(), window.undone()), (Seq(19), 1));
        assert!(window.done(Seq(20)));
        assert_eq!((window.settled_to(), window.undone()), (Seq(20), 0));
    }

    #[test]
    fn an_event_is_done_when_its_last_handler_is() {
        let mut window = Window::new(Seq(0));
        window.admit(Seq(1), 2, NOW);
        assert!(!window.done(Seq(1)));
        assert_eq!(window.settled_to(), Seq(0));
        assert!(window.done(Seq(1)));
        assert!(!window.done(Seq(1)), "a second word about a done event changes nothing");
        assert_eq!(window.settled_to(), Seq(1));
    }

    #[test]
    fn an_event_is_admitted_once() {
        let mut window = Window::new(Seq(5));
        assert!(!window.admit(Seq(5), 1, NOW));
        assert!(window.admit(Seq(6), 1, NOW));
        assert!(!window.admit(Seq(6), 1, NOW));
        assert_eq!(window.undone(), 1);
    }

    #[test]
    fn an_event_nobody_wants_is_done_at_once() {
        let mut window = Window::new(Seq(0));
        window.admit(Seq(1), 0, NOW);
        assert_eq!((window.settled_to(), window.undone()), (Seq(1), 0));
        window.admit(Seq(2), 1, NOW);
        window.admit(Seq(3), 0, NOW);
        assert_eq!(window.settled_to(), Seq(1));
        window.done(Seq(2));
        assert_eq!(window.settled_to(), Seq(3));
    }
}
