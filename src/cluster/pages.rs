//! Pages of several servers become one. Pure.
//!
//! Each server names the first of what it has, in the order of the names, so many as fit. Up to the first name behind
//! which one of them has more, all that there is has been named: there the page ends.

use std::collections::BTreeMap;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// The first of what there is, in the order of its names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Page<T> {
    /// What there is.
    pub found: Vec<T>,
    /// Whether there is more behind it.
    pub more: bool,
}

/// What can stand on a page.
pub trait Named {
    /// Its name, by which pages are ordered.
    fn name(&self) -> &CompactString;

    /// About how many bytes it takes.
    fn bytes(&self) -> usize;

    /// Another server has one of the same name.
    fn unite(&mut self, other: Self);
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self {
            found: Vec::new(),
            more: false,
        }
    }
}

impl<T: Named> Page<T> {
    /// The page with the first of `found`, which is in order: `max` of them, or fewer where these take more than
    /// `bytes_max`, but one at least.
    pub(super) fn cut(mut found: Vec<T>, max: usize, bytes_max: usize) -> Self {
        let mut bytes = 0_usize;
        let mut fits = |thing: &T| {
            bytes = bytes.saturating_add(thing.bytes());
            bytes <= bytes_max
        };
        let fitting = found.iter().take(max).take_while(|thing| fits(thing)).count().max(1);
        let more = found.len() > fitting;
        found.truncate(fitting);
        Self { found, more }
    }

    /// One page of many.
    pub(super) fn merge(pages: impl IntoIterator<Item = Self>, max: usize) -> Self {
        let mut all = BTreeMap::<CompactString, T>::new();
        let mut end: Option<CompactString> = None;
        for page in pages {
            if let Some(last) = page.found.iter().map(Named::name).max().filter(|_| page.more)
                && end.as_ref().is_none_or(|end| last < end)
            {
                end = Some(last.clone());
            }
            for thing in page.found {
                match all.get_mut(thing.name()) {
                    Some(there) => there.unite(thing),
                    None => drop(all.insert(thing.name().clone(), thing)),
                }
            }
        }
        let there = all.len();
        let is_whole = |name: &CompactString| end.as_ref().is_none_or(|end| name <= end);
        let found: Vec<_> = all
            .into_iter()
            .take_while(|(name, _)| is_whole(name))
            .take(max)
            .collect();
        let more = end.is_some() || found.len() < there;
        let found = found.into_iter().map(|(_, thing)| thing).collect();
        Self { found, more }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A name and a count.
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Thing(CompactString, u64);

    impl Named for Thing {
        fn name(&self) -> &CompactString {
            &self.0
        }

        fn bytes(&self) -> usize {
            self.0.len()
        }

        fn unite(&mut self, other: Self) {
            self.1 += other.1;
        }
    }

    fn things(names: &[&str]) -> Vec<Thing> {
        names.iter().map(|name| Thing((*name).into(), 1)).collect()
    }

    #[test]
    fn a_page_ends_where_somebody_may_have_more() {
        let full = Page {
            found: things(&["b", "d"]),
            more: true,
        };
        let whole = Page {
            found: things(&["a", "b", "c", "e"]),
            more: false,
        };
        let merged = Page::merge([full, whole], 10);
        assert!(merged.more);
        let expected = [("a", 1), ("b", 2), ("c", 1), ("d", 1)];
        assert_eq!(merged.found, expected.map(|(name, count)| Thing(name.into(), count)));
    }

    #[test]
    fn what_is_too_large_for_a_page_stands_there_alone() {
        let page = Page::cut(things(&["aaaa", "b", "c"]), 10, 3);
        assert_eq!((page.found.len(), page.more), (1, true));
        let page = Page::cut(things(&["a", "b", "c"]), 10, 3);
        assert_eq!((page.found.len(), page.more), (3, false));
        assert_eq!(Page::<Thing>::cut(Vec::new(), 10, 3), Page::default());
    }

    #[test]
    fn who_says_that_there_is_more_and_names_nothing_holds_up_nobody() {
        let empty = Page {
            found: Vec::new(),
            more: true,
        };
        let page = Page::merge([empty, Page::cut(things(&["a"]), 9, 9)], 9);
        assert_eq!(page, Page::cut(things(&["a"]), 9, 9));
    }

    proptest! {
        #[test]
        fn page_by_page_everything_comes_once(
            servers in prop::collection::vec(prop::collection::btree_set("[a-d]{1,3}", 0..30), 1..4),
            max in 1_usize..6,
            bytes_max in 1_usize..12,
        ) {
            let mut expected = BTreeMap::<CompactString, u64>::new();
            for name in servers.iter().flatten() {
                *expected.entry(name.into()).or_default() += 1;
            }
            let (mut all, mut after) = (Vec::new(), None::<CompactString>);
            loop {
                let pages = servers.iter().map(|names| {
                    let names = names.iter().filter(|name| after.as_ref().is_none_or(|after| name.as_str() > after.as_str()));
                    let found = names.take(max + 1).map(|name| Thing(name.into(), 1)).collect();
                    Page::cut(found, max, bytes_max)
                });
                let page = Page::merge(pages, max);
                prop_assert!(page.found.len() <= max && (!page.more || !page.found.is_empty()));
                after = page.found.last().map(|last| last.0.clone());
                all.extend(page.found.into_iter().map(|thing| (thing.0, thing.1)));
                if !page.more {
                    break;
                }
            }
            prop_assert_eq!(all, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
