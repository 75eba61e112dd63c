//! Patterns by their levels: which of many stand for a channel, without asking each.

use hashbrown::HashMap;
use switchboard_core::{ChannelName, ChannelPattern};

/// Patterns with something for each. Nodes without use are freed.
#[derive(Debug)]
pub(crate) struct Trie<T> {
    root: Node<T>,
}

#[derive(Debug)]
struct Node<T> {
    /// What stands for the name that ends here.
    here: Vec<T>,
    /// What stands for this name and all below it.
    rest: Vec<T>,
    any: Option<Box<Self>>,
    levels: HashMap<Box<str>, Self, foldhash::fast::RandomState>,
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { here: Vec::new(), rest: Vec::new(), any: None, levels: HashMap::default() }
    }
}

impl<T> Trie<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_empty()
    }

    /// What there is for a pattern, to be changed.
    pub(crate) fn change(&mut self, pattern: &ChannelPattern, change: impl FnOnce(&mut Vec<T>)) {
        let levels: Vec<&str> = pattern.levels().collect();
        self.root.change(&levels, change);
    }

    /// Calls `found` with everything whose pattern stands for the channel.
    pub(crate) fn find<'a>(&'a self, channel: &ChannelName, mut found: impl FnMut(&'a T)) {
        let name = channel.as_str();
        let levels: Vec<&str> = name.split('/').collect();
        self.root.find(&levels, name.starts_with('$'), &mut found);
    }
}

impl<T> Node<T> {
    fn is_empty(&self) -> bool {
        self.here.is_empty() && self.rest.is_empty() && self.any.is_none() && self.levels.is_empty()
    }

    /// Patterns have at most 32 levels, so this goes no deeper.
    fn change(&mut self, levels: &[&str], change: impl FnOnce(&mut Vec<T>)) {
        match levels {
            [] => change(&mut self.here),
            ["#"] => change(&mut self.rest),
            ["+", below @ ..] => {
                let node = self.any.get_or_insert_default();
                node.change(below, change);
                if node.is_empty() {
                    self.any = None;
                }
            }
            [level, below @ ..] => {
                let node = self.levels.entry((*level).into()).or_default();
                node.change(below, change);
                if node.is_empty() {
                    self.levels.remove(*level);
                }
            }
        }
    }

    fn find<'a>(&'a self, levels: &[&str], hidden: bool, found: &mut impl FnMut(&'a T)) {
        if !hidden {
            self.rest.iter().for_each(&mut *found);
        }
        let Some((level, below)) = levels.split_first() else {
            return self.here.iter().for_each(found);
        };
        if let Some(node) = self.any.as_deref().filter(|_| !hidden) {
            node.find(below, false, found);
        }
        if let Some(node) = self.levels.get(*level) {
            node.find(below, false, found);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_finds_what_matches_and_frees_what_is_gone(
            patterns in proptest::collection::vec("([ab+]/){0,3}[ab+#]|[$]a/#", 0..20),
            name in "[ab$](/[ab]){0,3}",
        ) {
            let patterns: Vec<_> = patterns.iter().map(|raw| ChannelPattern::parse(raw).unwrap()).collect();
            let name = ChannelName::parse(&name).unwrap();
            let mut trie = Trie::default();
            for (index, pattern) in patterns.iter().enumerate() {
                trie.change(pattern, |here| here.push(index));
            }
            let mut found = Vec::new();
            trie.find(&name, |index| found.push(*index));
            found.sort_unstable();
            let expected: Vec<_> = (0..patterns.len()).filter(|index| patterns[*index].matches(&name)).collect();
            prop_assert_eq!(found, expected);
            for (index, pattern) in patterns.iter().enumerate() {
                trie.change(pattern, |here| here.retain(|known| *known != index));
            }
            prop_assert!(trie.is_empty());
        }
    }
}
