//! A queue that mostly holds one thing at a time: the first has its place in the owner, and only more than one are kept elsewhere.
//!
//! An outbox gets one block a turn and is emptied at its end. A queue of its own for each of ten thousand subscribers would cost an allocation of several places
//! for each, or an allocation for each delivery.

use std::collections::VecDeque;

#[derive(Debug)]
pub(crate) struct Lane<T> {
    /// Absent only if there is nothing.
    first: Option<T>,
    rest: VecDeque<T>,
}

/// Places beyond the first that an empty queue keeps for the next turn.
const KEPT: usize = 8;

impl<T> Lane<T> {
    pub(crate) const fn new() -> Self {
        Self { first: None, rest: VecDeque::new() }
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The first, if there is no other.
    #[inline]
    pub(crate) fn only(&self) -> Option<&T> {
        if self.rest.is_empty() { self.first.as_ref() } else { None }
    }

    /// Forgets the first where it stands, if there is no other: taking it out would move it.
    #[inline]
    pub(crate) fn remove_only(&mut self) {
        if self.rest.is_empty() {
            self.first = None;
        }
    }

    #[inline]
    pub(crate) fn push_back(&mut self, item: T) {
        match self.first {
            None => self.first = Some(item),
            Some(_) => self.rest.push_back(item),
        }
    }

    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let item = self.first.take()?;
        if self.rest.capacity() > 0 {
            self.refill();
        }
        Some(item)
    }

    fn refill(&mut self) {
        self.first = self.rest.pop_front();
        if self.rest.is_empty() && self.rest.capacity() > KEPT {
            self.rest = VecDeque::new();
        }
    }

    /// Gives back what an empty queue keeps for the next turn.
    pub(crate) fn shrink(&mut self) {
        if self.rest.is_empty() {
            self.rest = VecDeque::new();
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.rest)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.first.iter_mut().chain(&mut self.rest)
    }

    /// Takes out what `is` names, and returns how many were before the first of them.
    pub(crate) fn remove_all(&mut self, is: impl Fn(&T) -> bool) -> Option<usize> {
        let index = self.iter().position(&is)?;
        self.rest.retain(|item| !is(item));
        if self.first.as_ref().is_some_and(is) {
            self.first = self.rest.pop_front();
        }
        Some(index)
    }

    /// Puts something behind so many; at the end, if there are fewer.
    pub(crate) fn insert(&mut self, index: usize, item: T) {
        match (index, self.first.take()) {
            (0, Some(first)) => {
                self.first = Some(item);
                self.rest.push_front(first);
            }
            (_, None) => self.first = Some(item),
            (index, first) => {
                self.first = first;
                self.rest.insert((index - 1).min(self.rest.len()), item);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// It does what the usual queue does.
        #[test]
        fn it_is_a_queue(steps in proptest::collection::vec((0_u8..6, 0_usize..6), 0..80)) {
            let (mut lane, mut model) = (Lane::new(), VecDeque::new());
            for (number, (what, at)) in steps.into_iter().enumerate() {
                match what {
                    0 | 1 => {
                        lane.push_back(number);
                        model.push_back(number);
                    }
                    2 => {
                        lane.insert(at, number);
                        model.insert(at.min(model.len()), number);
                    }
                    3 => {
                        let is = |item: &usize| item % 3 == at % 3;
                        prop_assert_eq!(lane.remove_all(is), model.iter().position(is));
                        model.retain(|item| !is(item));
                    }
                    4 => lane.shrink(),
                    _ => prop_assert_eq!(lane.pop_front(), model.pop_front()),
                }
                prop_assert_eq!(lane.is_empty(), model.is_empty());
                prop_assert!(lane.iter().eq(model.iter()) && lane.iter_mut().eq(model.iter_mut()));
            }
        }
    }
}
