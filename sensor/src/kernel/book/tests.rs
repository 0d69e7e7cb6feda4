//! The book over tries in memory: book, filter, rule table and tries say the same whatever is done to them.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use sensor_common::address::{Address, Prefix};
use sensor_common::capacity;
use sensor_common::connection::{Connection, ConnectionBucket, Tuple};
use sensor_common::counter::Counter;
use sensor_common::filter::{Probe, Trie, WORDS};
use sensor_common::half_open::HalfOpenBucket;
use sensor_common::rule::{ClassKey, ClassRule, KEPT_GENERATIONS, Reference, Rule, TierLimit, kind};
use sensor_common::settings::Settings;
use sensor_common::stats::{NetworkBucket, SourceBucket};
use sensor_common::tables::{EventBudget, Frame, Tables};
use sensor_common::traffic::TrafficBucket;
use sensor_common::wire::Segment;

use super::{Book, parts};
use crate::control::subject::prefix;
use crate::engine::plan::Subject;
use crate::kernel::KernelError;
use crate::kernel::drift::Check;
use crate::kernel::filter::Filter;
use crate::kernel::shared::{Mapped, TrafficCells};
use crate::kernel::trie::{Piece, Tries};

const SEED: u64 = 0x5eed;
const SECOND: u64 = 1_000_000_000;
const REGIONS: usize = 2;
/// Entries in a piece of a walk: few, so that walks take several.
const PIECE: usize = 3;

/// Tries in memory.
#[derive(Default)]
struct Model {
    tries: BTreeMap<(Trie, Prefix), Reference>,
    full: bool,
}

impl Model {
    /// What the kernel would find: the longest prefix that holds an address.
    fn longest(&self, trie: Trie, address: &Address) -> Option<Reference> {
        let holds = |((of, prefix), _): &(&(Trie, Prefix), &Reference)| *of == trie && prefix.contains(address);
        self.tries.iter().filter(holds).max_by_key(|((_, prefix), _)| prefix.bits).map(|(_, reference)| *reference)
    }
}

impl Tries for Model {
    fn insert(&mut self, trie: Trie, prefix: &Prefix, rule: Reference) -> Result<(), KernelError> {
        if self.full {
            return Err(KernelError::new("enter", "full"));
        }
        self.tries.insert((trie, *prefix), rule);
        Ok(())
    }

    fn remove(&mut self, trie: Trie, prefix: &Prefix) -> Result<(), KernelError> {
        self.tries.remove(&(trie, *prefix));
        Ok(())
    }

    fn walk(&mut self, trie: Trie, from: Option<&Prefix>) -> Result<Piece, KernelError> {
        let all: Vec<_> = self.tries.iter().filter(|((of, _), _)| *of == trie).map(|((_, p), r)| (*p, *r)).collect();
        // As the kernel does: one that is gone means from the beginning.
        let start = from.and_then(|from| all.iter().position(|(prefix, _)| prefix == from)).map_or(0, |at| at + 1);
        let found: Vec<_> = all[start..].iter().take(PIECE).copied().collect();
        let next = (start + found.len() < all.len()).then(|| found.last().map(|(prefix, _)| *prefix)).flatten();
        Ok((found, next))
    }
}

fn open(model: Model) -> Book<Model> {
    let filter = Filter::new(Mapped::anonymous(WORDS as usize), SEED);
    let rules = Mapped::anonymous(capacity::RULES as usize);
    let hits = Mapped::anonymous(REGIONS * capacity::RULES as usize);
    let book = Book::open(model, rules, hits, filter).expect("a model refuses nothing");
    book.filter.settle();
    book
}

/// The same memory and tries as a daemon that starts anew finds them.
fn again(book: Book<Model>) -> Book<Model> {
    let Book { tries, terms, hits, filter, .. } = book;
    let book = Book::open(tries, terms, hits, filter.again(SEED)).expect("a model refuses nothing");
    book.filter.settle();
    book
}

fn deny(text: &str) -> Subject {
    Subject::Deny(prefix(text).expect("a prefix"))
}

fn allow(text: &str) -> Subject {
    Subject::Allow(prefix(text).expect("a prefix"))
}

#[test]
fn generations_that_come_round_revive_no_former_rule() {
    let mut book = open(Model::default());
    let kept = Mapped::<TrafficCells>::anonymous(2);
    // Every place was used so often that its next generation is the last of a round.
    for cells in book.terms.iter() {
        cells.generation.store(KEPT_GENERATIONS - 2, Ordering::Relaxed);
    }
    let first = deny("192.0.2.0/24");
    book.install(&first, SECOND, 0).expect("there is room");
    let reference = book.entries[&first].reference;
    assert_eq!(reference.generation, KEPT_GENERATIONS - 1);
    let free = book.free.len();
    book.remove(&first).expect("it is there");
    assert_eq!((book.free.len(), book.worn.as_slice()), (free, [reference.index].as_slice()), "it has to rest");

    // What a source was found under at the beginning of the round.
    let former = Reference { index: reference.index, generation: 0 }.pack();
    kept[1].rules[3].store(former, Ordering::Relaxed);
    book.free.clear();
    assert!(book.is_worn_out());
    book.refresh(&kept);
    assert_eq!(kept[1].rules[3].load(Ordering::Relaxed), 0, "nobody is under a former rule");
    let second = deny("198.51.100.0/24");
    book.install(&second, SECOND, 0).expect("the place has rested");
    let Reference { index, generation } = book.entries[&second].reference;
    assert_eq!((index, generation), (reference.index, KEPT_GENERATIONS));
    let rule = Rule { expires_ns: SECOND, generation, kind: kind::DENY };
    assert!(rule.is(former), "it would have been taken for the former one");
    assert!(!book.is_worn_out(), "all places are in use, and none is worn");
}

/// What the packet path sees of a filter; asked for anything else it fails.
struct Words(Vec<u64>);

struct Nothing;

impl Frame for Nothing {
    fn len(&self) -> usize {
        unreachable!("only the filter is asked")
    }

    fn first_len(&self) -> usize {
        unreachable!("only the filter is asked")
    }

    fn read<const N: usize>(&self, _: usize) -> Option<[u8; N]> {
        unreachable!("only the filter is asked")
    }
}

macro_rules! unasked {
    ($(fn $name:ident($($argument:ty),*) $(-> $result:ty)?;)*) => {
        $(fn $name(&self $(, _: $argument)*) $(-> $result)? { unreachable!("only the filter is asked") })*
    };
}

impl Tables for Words {
    type Frame = Nothing;

    fn filter(&self, index: u32) -> u64 {
        self.0[index as usize]
    }

    fn segment(&self) -> Option<&mut Segment> {
        unreachable!("only the filter is asked")
    }

    fn settings(&self) -> Option<&Settings> {
        unreachable!("only the filter is asked")
    }

    fn scan(&self, _: &Nothing, _: usize, _: usize, _: &mut Connection) -> bool {
        unreachable!("only the filter is asked")
    }

    unasked! {
        fn cpu() -> u32;
        fn watched(u16) -> bool;
        fn count(Counter, u64);
        fn add(&mut u64, u64);
        fn replace(&mut u64, u64, u64) -> bool;
        fn traffic(u32) -> Option<&mut TrafficBucket>;
        fn half_open(u32) -> Option<&mut HalfOpenBucket>;
        fn sources(u32) -> Option<&mut SourceBucket>;
        fn networks(u32) -> Option<&mut NetworkBucket>;
        fn connections(u32) -> Option<&mut ConnectionBucket>;
        fn rule(u32) -> Option<&Rule>;
        fn hit(u32, u32);
        fn allow(&Prefix) -> Option<Reference>;
        fn deny(&Prefix) -> Option<Reference>;
        fn tier(&Prefix) -> Option<u32>;
        fn limit(u32) -> Option<&TierLimit>;
        fn class(&ClassKey) -> Option<&mut ClassRule>;
        fn budget() -> Option<&mut EventBudget>;
        fn random() -> u32;
        fn report(&Tuple, &Connection, u64) -> bool;
    }
}

/// Everything agrees: each rule is whole, in its trie and behind its filter, and has a place of its own.
fn agrees(book: &Book<Model>, addresses: &[Address]) {
    let words = Words(book.filter.words());
    let mut places = std::collections::BTreeSet::new();
    for (subject, entry) in &book.entries {
        let (trie, prefix, _) = parts(subject).expect("the book has prefix rules only");
        assert!(book.is_complete(subject, entry.reference), "{subject}");
        assert_eq!(book.tries.tries.get(&(trie, prefix)), Some(&entry.reference), "{subject}");
        assert!(places.insert(entry.reference.index), "{subject} shares its place");
        let probe = Probe::new(prefix.address.key(), SEED);
        assert!(probe.may_be_in(trie, &words), "the filter denies {subject}'s first address");
    }
    assert_eq!(book.tries.tries.len(), book.entries.len());
    assert_eq!(book.free.len() + places.len(), capacity::RULES as usize - 1, "no place is lost");
    for address in addresses {
        for trie in [Trie::Allow, Trie::Deny] {
            if let Some(reference) = book.tries.longest(trie, address) {
                let probe = Probe::new(address.key(), SEED);
                assert!(probe.may_be_in(trie, &words), "the filter denies {address}, which is under {reference:?}");
            }
        }
    }
}

/// Addresses that lie close together, so that rules meet them.
fn addresses() -> impl Strategy<Value = Address> {
    prop_oneof![
        (0..3_u8, any::<[u8; 3]>()).prop_map(|(a, [b, c, d])| Address::v4([10 + a, b & 3, c, d])),
        (0..3_u64, any::<u64>(), any::<u64>())
            .prop_map(|(net, high, low)| Address::from_words(0x2001_0db8 << 32 | net << 44 | high & 0xff_ffff, low)),
    ]
}

fn subjects() -> impl Strategy<Value = Subject> {
    (addresses(), 0..=128_u8, any::<bool>()).prop_map(|(address, bits, allow)| {
        let length = if address.is_v4() { bits % 33 } else { bits };
        let prefix = Prefix::new(address.into(), length).expect("the length is in range");
        if allow { Subject::Allow(prefix) } else { Subject::Deny(prefix) }
    })
}

#[derive(Clone, Debug)]
enum Act {
    Install(Subject, u64),
    Remove(usize),
    Restart,
    /// Somebody takes a prefix out of a trie behind the book's back.
    Steal(usize),
    /// Somebody makes a rule void.
    Void(usize),
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (subjects(), any::<u64>()).prop_map(|(subject, expires)| Act::Install(subject, expires)),
        4 => any::<usize>().prop_map(Act::Remove),
        1 => Just(Act::Restart),
        1 => any::<usize>().prop_map(Act::Steal),
        1 => any::<usize>().prop_map(Act::Void),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn book_filter_and_tries_agree(acts in prop::collection::vec(acts(), 1..60), asked in prop::collection::vec(addresses(), 40)) {
        let mut book = open(Model::default());
        let mut check = Check::default();
        let mut wanted: BTreeMap<Subject, u64> = BTreeMap::new();
        let mut now = 0;
        let pick = |book: &Book<Model>, number: usize| {
            book.entries.keys().nth(number % book.entries.len().max(1)).copied()
        };
        for act in acts {
            match act {
                Act::Install(subject, expires) => {
                    book.install(&subject, expires, check.number()).expect("there is room");
                    wanted.insert(subject, expires);
                }
                Act::Remove(number) => if let Some(subject) = pick(&book, number) {
                    book.remove(&subject).expect("a model refuses nothing");
                    wanted.remove(&subject);
                },
                Act::Restart => {
                    book = again(book);
                    check = Check::default();
                }
                Act::Steal(number) => if let Some(subject) = pick(&book, number) {
                    let (trie, prefix, _) = parts(&subject).expect("a prefix rule");
                    book.tries.tries.remove(&(trie, prefix));
                    wanted.remove(&subject);
                    for _ in 0..100 {
                        now += SECOND;
                        check.step(&mut book, now).expect("a model refuses nothing");
                    }
                },
                Act::Void(number) => if let Some(subject) = pick(&book, number) {
                    let place = book.entries[&subject].reference.index as usize;
                    book.terms[place].kind.store(kind::NONE, std::sync::atomic::Ordering::Relaxed);
                    book.rules().expect("a model refuses nothing");
                    wanted.remove(&subject);
                },
            }
            prop_assert!(book.entries.keys().eq(wanted.keys()), "{:?}", book.entries);
            agrees(&book, &asked);
        }
        let subjects: Vec<Subject> = book.entries.keys().copied().collect();
        for subject in subjects {
            book.remove(&subject).expect("a model refuses nothing");
        }
        prop_assert!(book.filter.words().iter().all(|word| *word == 0), "nobody needs a bit any more");
        let places: std::collections::BTreeSet<&u32> = book.free.iter().collect();
        prop_assert_eq!(places.len(), capacity::RULES as usize - 1, "every place is free, once");
    }
}

#[test]
fn a_renewed_rule_keeps_its_place_and_its_hits() {
    let mut book = open(Model::default());
    let subject = deny("203.0.113.0/24");
    book.install(&subject, 60, 0).expect("there is room");
    let place = book.entries[&subject].reference.index as usize;
    for region in 0..REGIONS {
        book.hits[region * capacity::RULES as usize + place].store(8, std::sync::atomic::Ordering::Relaxed);
    }
    book.install(&subject, 600, 0).expect("it stands");
    let rules = book.rules().expect("a model refuses nothing");
    assert_eq!((rules[0].1.hits, rules[0].1.terms.expires_ns), (16, 600));
    book.remove(&subject).expect("it stands");
    // The place comes round again.
    for number in 0..capacity::RULES {
        let [_, b, c, d] = number.to_be_bytes();
        let other = Subject::Deny(Address::v4([b, c, d, 1]).host_prefix());
        book.install(&other, 1, 0).expect("there is room");
        let reference = book.entries[&other].reference;
        if reference.index as usize == place {
            assert_eq!(reference.generation, 2, "what was kept of the former rule is void");
            assert_eq!(book.rules().expect("nothing is refused").iter().map(|(_, rule)| rule.hits).sum::<u64>(), 0);
            return;
        }
        book.remove(&other).expect("it stands");
    }
    panic!("the place was lost");
}

#[test]
fn a_rule_that_the_trie_refuses_leaves_nothing_behind() {
    let mut book = open(Model { full: true, ..Model::default() });
    let free = book.free.len();
    book.install(&deny("203.0.113.0/24"), 60, 0).expect_err("it is full");
    assert_eq!((book.entries.len(), book.free.len()), (0, free));
    assert!(book.filter.words().iter().all(|word| *word == 0));
}

#[test]
fn what_does_not_fit_together_at_the_start_is_taken_out() {
    let mut book = open(Model::default());
    let kept = deny("203.0.113.0/24");
    let void = deny("198.51.100.0/24");
    let other = allow("192.0.2.7");
    for subject in [&kept, &void, &other] {
        book.install(subject, 77, 0).expect("there is room");
    }
    let place = book.entries[&void].reference.index as usize;
    book.terms[place].generation.store(99, std::sync::atomic::Ordering::Relaxed);
    // A place nobody refers to, and a prefix that refers to somebody else's.
    book.terms[1_000].kind.store(kind::DENY, std::sync::atomic::Ordering::Relaxed);
    let stolen = book.entries[&kept].reference;
    book.tries.tries.insert((Trie::Deny, prefix("233.252.0.0/24").expect("a prefix")), stolen);
    let mut book = again(book);
    let rules: Vec<Subject> = book.rules().expect("nothing is refused").iter().map(|(subject, _)| *subject).collect();
    assert_eq!(rules, [other, kept]);
    assert_eq!(book.terms[1_000].kind.load(std::sync::atomic::Ordering::Relaxed), kind::NONE);
    agrees(&book, &[]);
}

#[test]
fn foreign_prefixes_and_cleared_bits_are_put_right_within_a_walk() {
    let mut book = open(Model::default());
    let mut check = Check::default();
    let subject = allow("2001:db8::/48");
    book.install(&subject, u64::MAX, check.number()).expect("there is room");
    let words = book.filter.words();
    let foreign = prefix("0.0.0.0/0").expect("a prefix");
    book.tries.tries.insert((Trie::Deny, foreign), Reference { index: 5, generation: 1 });
    book.filter.clear();
    for second in 1..5 {
        check.step(&mut book, second * SECOND).expect("a model refuses nothing");
    }
    assert!(!book.tries.tries.contains_key(&(Trie::Deny, foreign)));
    assert_eq!(book.filter.words(), words);
    agrees(&book, &[]);
}
