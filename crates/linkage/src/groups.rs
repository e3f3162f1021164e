//! Groups of records that are the same person so far.

use std::collections::HashMap;

use crate::index::{Index, Review};
use crate::match_weight::{HOUSEHOLD, Rarity, agreement};
use crate::records::{NUMBERS, Records, Text};

/// If two services have this share of the smaller one's people in common, they hold the same people: the remaining people of
/// one are the remaining people of the other.
const NEARLY_ALL: f64 = 0.9;

/// A union of records into groups (union-find), and the reasons that keep groups apart.
pub(crate) struct Groups<'a> {
    rarity: &'a Rarity<'a>,
    parent: Vec<usize>,
    /// The records of each group.
    members: Vec<Vec<u32>>,
    /// The services of each group that hold a person at most once.
    once: Vec<Vec<u16>>,
    /// The national numbers of each group.
    numbers: Vec<[Text; NUMBERS]>,
    /// The records that are not the person of a group.
    apart: HashMap<usize, Vec<usize>>,
}

impl<'a> Groups<'a> {
    pub(crate) fn new(records: &Records, rarity: &'a Rarity<'a>, once: &[u16]) -> Self {
        let service = |service: &u16| once.iter().copied().filter(|s| s == service).collect();
        Self {
            rarity,
            parent: (0..records.len()).collect(),
            members: (0_u32..).take(records.len()).map(|at| vec![at]).collect(),
            once: records.services().iter().map(service).collect(),
            numbers: records.numbers(),
            apart: HashMap::new(),
        }
    }

    pub(crate) fn find(&mut self, mut at: usize) -> usize {
        while let Some(parent) = self.parent.get(at).copied().filter(|parent| *parent != at) {
            let above = self.parent.get(parent).copied().unwrap_or(parent);
            if let Some(slot) = self.parent.get_mut(at) {
                *slot = above;
            }
            at = above;
        }
        at
    }

    /// Notes that two records are different people.
    pub(crate) fn keep_apart(&mut self, one: usize, other: usize) {
        self.apart.entry(one).or_default().push(other);
        self.apart.entry(other).or_default().push(one);
    }

    /// Whether two records are in different groups, and nobody has decided that they are different people.
    pub(crate) fn are_open(&mut self, one: usize, other: usize) -> bool {
        let (one, other) = (self.find(one), self.find(other));
        one != other && !self.are_apart(one, other)
    }

    fn are_apart(&mut self, one: usize, other: usize) -> bool {
        let apart = self.apart.get(&one).cloned().unwrap_or_default();
        apart.into_iter().any(|record| self.find(record) == other)
    }

    /// Joins two groups, unless a service would hold the person twice, the person would have two numbers of a kind, two of
    /// the records contradict each other, or somebody has decided that they are different people.
    pub(crate) fn join(&mut self, first: usize, second: usize) {
        let (one, other) = (self.find(first), self.find(second));
        if one == other || self.are_apart(one, other) {
            return;
        }
        let twice = match (self.once.get(one), self.once.get(other)) {
            (Some(a), Some(b)) => a.iter().any(|service| b.contains(service)),
            _ => true,
        };
        let differ = match (self.numbers.get(one), self.numbers.get(other)) {
            (Some(a), Some(b)) => agreement(a, b).1,
            _ => true,
        };
        // A chain of likenesses must not join different people.
        let two = || {
            let (Some(a), Some(b)) = (self.members.get(one), self.members.get(other)) else { return true };
            let pairs = a.iter().flat_map(|x| b.iter().map(|y| (*x as usize, *y as usize)));
            // The pair itself has been judged already.
            let mut others = pairs.filter(|pair| *pair != (first, second) && *pair != (second, first));
            others.any(|(x, y)| self.rarity.contradict(x, y))
        };
        if !twice && !differ && !two() {
            self.merge(one, other);
        }
    }

    /// As [`Groups::join`], after a person's decision: a number may be mistyped, and a service may hold a person twice.
    pub(crate) fn join_decided(&mut self, one: usize, other: usize) {
        if self.are_open(one, other) {
            let (one, other) = (self.find(one), self.find(other));
            self.merge(one, other);
        }
    }

    fn merge(&mut self, one: usize, other: usize) {
        let (first, second) = (one.min(other), one.max(other));
        if let Some(slot) = self.parent.get_mut(second) {
            *slot = first;
        }
        let members = self.members.get_mut(second).map(std::mem::take).unwrap_or_default();
        if let Some(of) = self.members.get_mut(first) {
            of.extend(members);
        }
        let services = self.once.get_mut(second).map(std::mem::take).unwrap_or_default();
        if let Some(of) = self.once.get_mut(first) {
            of.extend(services);
        }
        let numbers = self.numbers.get(second).copied().unwrap_or_default();
        for (of, number) in self.numbers.get_mut(first).into_iter().flatten().zip(numbers) {
            *of = if *of == 0 { number } else { *of };
        }
        if let Some(apart) = self.apart.remove(&second) {
            self.apart.entry(first).or_default().extend(apart);
        }
    }

    /// Joins the remaining pairs between two services that hold each person once, if neither record has another candidate: a
    /// twin would be another candidate. Evidence that a household shares is enough only if the two services hold nearly the
    /// same people.
    pub(crate) fn join_alone(&mut self, services: &[u16], once: &[u16], review: &[Review]) {
        let single = |at: usize| services.get(at).copied().filter(|service| once.contains(service));
        let between = |pair: &Review| single(pair.one).zip(single(pair.other)).map(|(a, b)| (a.min(b), a.max(b)));
        let own: Vec<&Review> = review.iter().filter(|pair| pair.sure > HOUSEHOLD && between(pair).is_some()).collect();
        self.join_only(&own);
        let shared = self.shared(services, once);
        let nearly = |pair: &&Review| between(pair).and_then(|of| shared.get(&of)).is_some_and(|of| *of >= NEARLY_ALL);
        let left: Vec<&Review> = review.iter().filter(nearly).collect();
        let left: Vec<&Review> = left.into_iter().filter(|pair| self.are_open(pair.one, pair.other)).collect();
        self.join_only(&left);
    }

    /// Joins each pair whose two records are in no other pair of the list.
    fn join_only(&mut self, pairs: &[&Review]) {
        let mut candidates: HashMap<usize, usize> = HashMap::new();
        for pair in pairs {
            *candidates.entry(pair.one).or_default() += 1;
            *candidates.entry(pair.other).or_default() += 1;
        }
        let alone = |at: usize| candidates.get(&at) == Some(&1);
        for pair in pairs.iter().filter(|pair| alone(pair.one) && alone(pair.other)) {
            self.join(pair.one, pair.other);
        }
    }

    /// For two services that hold each person once, the share of the smaller one's people that the other one also holds.
    fn shared(&self, services: &[u16], once: &[u16]) -> HashMap<(u16, u16), f64> {
        let service = |at: &u32| services.get(*at as usize).copied().filter(|service| once.contains(service));
        let mut sizes: HashMap<u16, f64> = HashMap::new();
        let mut both: HashMap<(u16, u16), f64> = HashMap::new();
        for members in &self.members {
            let mut held: Vec<u16> = members.iter().filter_map(service).collect();
            held.sort_unstable();
            // People are counted, not records: a service may have several rows under one key.
            held.dedup();
            for (place, a) in held.iter().enumerate() {
                *sizes.entry(*a).or_default() += 1.0;
                held.iter().skip(place + 1).for_each(|b| *both.entry((*a, *b)).or_default() += 1.0);
            }
        }
        let size = |service: u16| sizes.get(&service).copied().unwrap_or(1.0);
        both.into_iter().map(|((a, b), count)| ((a, b), count / size(a).min(size(b)))).collect()
    }

    /// The person of each record.
    pub(crate) fn index(mut self, review: Vec<Review>) -> Index {
        let mut numbers: HashMap<usize, usize> = HashMap::new();
        let people: Vec<usize> = (0..self.parent.len())
            .map(|at| {
                let root = self.find(at);
                let next = numbers.len();
                *numbers.entry(root).or_insert(next)
            })
            .collect();
        Index { people, count: numbers.len(), review }
    }
}
