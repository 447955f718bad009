/// Some of a node's handlers, each by its place in the node's list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandlerSet(u128);

impl HandlerSet {
    /// Handlers a node can have.
    pub const MOST: usize = 128;

    /// None of them.
    pub const NONE: Self = Self(0);

    /// The first so many.
    pub const fn first(count: usize) -> Self {
        if count >= Self::MOST { Self(u128::MAX) } else { Self((1 << count) - 1) }
    }

    /// This one alone; nobody where no node can have so many.
    pub const fn one(handler: usize) -> Self {
        if handler < Self::MOST { Self(1 << handler) } else { Self::NONE }
    }

    /// Those of both.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Those of one that are of the other too.
    #[must_use]
    pub const fn of(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// Is it among them?
    pub const fn contains(self, handler: usize) -> bool {
        self.has(Self::one(handler)) && handler < Self::MOST
    }

    /// Are all of these among them?
    pub const fn has(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Is it nobody?
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Their places, in order.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            (left != 0).then(|| {
                let next = left.trailing_zeros() as usize;
                left &= left - 1;
                next
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_into_it_in_order() {
        let set = HandlerSet::one(127).and(HandlerSet::one(3)).and(HandlerSet::one(3));
        assert_eq!((set.iter().collect::<Vec<_>>(), set.len()), (vec![3, 127], 2));
        assert!(set.contains(3) && set.contains(127) && !set.contains(4) && !set.is_empty());
        assert!(set.has(HandlerSet::one(3)) && !HandlerSet::one(3).has(set));
        assert!(HandlerSet::NONE.is_empty());
        assert_eq!(set.of(HandlerSet::one(127).and(HandlerSet::one(4))), HandlerSet::one(127));
    }

    #[test]
    fn the_first_of_a_list_are_as_many_as_there_can_be() {
        assert_eq!(HandlerSet::first(0), HandlerSet::NONE);
        assert_eq!(HandlerSet::first(2).iter().collect::<Vec<_>>(), [0, 1]);
        assert_eq!(HandlerSet::first(128).len(), 128);
        assert_eq!(HandlerSet::first(500), HandlerSet::first(HandlerSet::MOST));
        assert!(HandlerSet::one(128).is_empty() && !HandlerSet::first(128).contains(128));
    }
}
