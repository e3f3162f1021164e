//! Places for live connections, and how many bytes may come over them.
//!
//! A caller with a certificate has places of its own. A connection without one is unknown until somebody signs in on it: until then
//! it takes one of its network's places, and afterwards one of the caller's. When a network has too many unknown connections, the
//! oldest gives up its place. So strangers displace only strangers, and their floods slow down nobody who signs in.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use loda_federation::PeerId;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use super::rate::Meter;
use super::{Limits, SLOW};

/// Bytes of a connection that do not count towards its network's: enough to sign in with the first request.
const FIRST: usize = 16 << 10;

/// How long a connection may be nobody's.
const UNKNOWN: Duration = Duration::from_secs(60);

/// Budgets that are kept after the last connection, until they are full again.
const KEPT: usize = 10_000;

/// The party that a connection is counted for.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Who {
    Peer(PeerId),
    /// Nobody in particular, from one network.
    Network(IpAddr),
    /// It is counted no more.
    Nobody,
}

/// New connections of one network at once, handshakes included; further ones wait in order.
const NEW: usize = 64;

/// How long a connection is new. Afterwards it may have to give up its place.
const GRACE: Duration = Duration::from_millis(500);

/// Whose turn it is among the new connections of a network.
#[derive(Clone, Default)]
pub(crate) struct Arrivals(Arc<Mutex<HashMap<IpAddr, Weak<Semaphore>>>>);

/// A turn, and whether others wait for one.
pub(crate) struct Arrival {
    turns: Arc<Semaphore>,
    turn: OwnedSemaphorePermit,
}

impl Arrivals {
    /// The turn of a new connection, after those that came before.
    pub(crate) async fn turn(&self, network: IpAddr) -> Option<Arrival> {
        let turns = {
            let mut all = lock(&self.0);
            if all.len() >= KEPT {
                all.retain(|_, turns| turns.strong_count() > 0);
            }
            let known = all.get(&network).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let turns = Arc::new(Semaphore::new(NEW));
                all.insert(network, Arc::downgrade(&turns));
                turns
            })
        };
        let turn = Arc::clone(&turns).acquire_owned().await.ok()?;
        Some(Arrival { turns, turn })
    }
}

impl Arrival {
    /// Ends when this has taken long and others may wait.
    pub(crate) async fn overdue(&self) {
        sleep(SLOW).await;
        while self.turns.available_permits() > 0 {
            sleep(SLOW).await;
        }
    }
}

/// Live connections, counted.
#[derive(Clone, Default)]
pub(crate) struct Places(Arc<Mutex<Live>>);

#[derive(Default)]
struct Live {
    total: usize,
    strangers: usize,
    of: HashMap<Who, Of>,
}

struct Of {
    live: usize,
    meter: Meter,
    /// Unknown connections that are no longer new, the oldest first; and those of them that had a request refused.
    unknown: VecDeque<Weak<Mutex<Seat>>>,
    refused: VecDeque<Weak<Mutex<Seat>>>,
}

impl Of {
    /// Takes a connection out of both queues.
    fn forget(&mut self, seat: &Arc<Mutex<Seat>>) {
        for queue in [&mut self.unknown, &mut self.refused] {
            queue.retain(|other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(seat)));
        }
    }
}

/// One live connection; dropping the last copy frees its place.
#[derive(Clone)]
pub struct ConnectionPlace(Arc<Mutex<Seat>>);

struct Seat {
    places: Places,
    who: Who,
    meter: Meter,
    limits: Limits,
    /// Bytes that are not counted yet.
    first: usize,
    refusals: u32,
    /// While it is new.
    turn: Option<OwnedSemaphorePermit>,
    /// Given up for a newer stranger.
    given_up: Arc<Notify>,
}

impl std::fmt::Debug for ConnectionPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Place")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Places {
    /// A place for somebody who has shown a certificate. The error is a static code.
    pub(crate) fn of_peer(&self, id: &PeerId, limits: Limits) -> Result<ConnectionPlace, &'static str> {
        let who = Who::Peer(id.clone());
        let meter = lock(&self.0).take(&who, limits)?;
        Ok(self.place(who, meter, limits, 0))
    }

    /// A place for a connection without a certificate; where there is none, the oldest unknown one gives up its own. `turn` is given
    /// back when the connection is no longer new. The error is a static code.
    pub(crate) fn of_stranger(
        &self,
        network: IpAddr,
        limits: Limits,
        turn: Option<Arrival>,
    ) -> Result<ConnectionPlace, &'static str> {
        let who = Who::Network(network);
        loop {
            let oldest = {
                let mut live = lock(&self.0);
                let full = match live.take(&who, limits) {
                    Ok(meter) => {
                        drop(live);
                        let place = self.place(who, meter, limits, FIRST);
                        match turn {
                            Some(turn) => lock(&place.0).turn = Some(turn.turn),
                            None => place.grown(),
                        }
                        return Ok(place);
                    }
                    Err(full) => full,
                };
                live.oldest(&who, full == "connections_full").ok_or(full)?
            };
            give_up(&oldest);
        }
    }

    fn place(&self, who: Who, meter: Meter, limits: Limits, first: usize) -> ConnectionPlace {
        let seat =
            Seat { places: self.clone(), who, meter, limits, first, refusals: 0, turn: None, given_up: Arc::default() };
        ConnectionPlace(Arc::new(Mutex::new(seat)))
    }

    fn leave(&self, who: &Who) {
        lock(&self.0).leave(who);
    }
}

impl Live {
    fn take(&mut self, who: &Who, limits: Limits) -> Result<Meter, &'static str> {
        let stranger = matches!(who, Who::Network(_));
        let most = if stranger { limits.connections_per_network } else { limits.connections_per_peer };
        if self.total >= limits.connections || (stranger && self.strangers >= limits.connections / 2) {
            return Err("connections_full");
        }
        self.forget();
        let of = self.of.entry(who.clone()).or_insert_with(|| Of {
            live: 0,
            meter: match who {
                Who::Peer(id) => Meter::of(id),
                Who::Network(_) | Who::Nobody => Meter::person(),
            },
            unknown: VecDeque::new(),
            refused: VecDeque::new(),
        });
        if of.live >= most {
            return Err("connections_full_for_peer");
        }
        of.live = of.live.saturating_add(1);
        self.total = self.total.saturating_add(1);
        self.strangers = self.strangers.saturating_add(usize::from(stranger));
        Ok(of.meter.clone())
    }

    fn leave(&mut self, who: &Who) {
        let Some(of) = self.of.get_mut(who) else { return };
        of.live = of.live.saturating_sub(1);
        of.unknown.retain(|seat| seat.strong_count() > 0);
        of.refused.retain(|seat| seat.strong_count() > 0);
        // Spent bytes are remembered until they are due again: a person that comes back is no new person.
        if of.live == 0 && of.meter.is_full() {
            self.of.remove(who);
        }
        self.total = self.total.saturating_sub(1);
        self.strangers = self.strangers.saturating_sub(usize::from(matches!(who, Who::Network(_))));
    }

    /// Drops budgets that nobody uses, where there are many.
    fn forget(&mut self) {
        if self.of.len() >= KEPT {
            self.of.retain(|_, of| of.live > 0 || !of.meter.is_full());
        }
        if self.of.len() >= KEPT {
            self.of.retain(|_, of| of.live > 0);
        }
    }

    /// The unknown connection of a network that gives up its place: the oldest that had a request refused, or else the oldest. With
    /// `of_all` it is one of the network that has most of them.
    fn oldest(&mut self, who: &Who, of_all: bool) -> Option<Arc<Mutex<Seat>>> {
        let strangers = |of: &Of| of.unknown.len().saturating_add(of.refused.len());
        let most = self.of.iter().max_by_key(|(_, of)| strangers(of)).map(|(who, _)| who.clone());
        let from = if of_all { most? } else { who.clone() };
        let Of { unknown, refused, .. } = self.of.get_mut(&from)?;
        let next = || refused.pop_front().or_else(|| unknown.pop_front());
        std::iter::from_fn(next).find_map(|seat| seat.upgrade())
    }
}

impl ConnectionPlace {
    /// Somebody has signed in: from now on the place is one of theirs, if they have one left.
    pub fn known(&self, id: &PeerId) {
        let mut seat = lock(&self.0);
        let who = Who::Peer(id.clone());
        if seat.who == who || seat.who == Who::Nobody {
            return;
        }
        let taken = lock(&seat.places.0).take(&who, seat.limits);
        if let Ok(meter) = taken {
            let before = std::mem::replace(&mut seat.who, who);
            seat.meter = meter;
            seat.first = 0;
            seat.turn = None;
            let places = seat.places.clone();
            let mut live = lock(&places.0);
            if let Some(of) = live.of.get_mut(&before) {
                of.forget(&self.0);
            }
            live.leave(&before);
        }
    }

    /// A request was refused: while nobody has signed in, this place is given up first. How many refusals the connection has had.
    pub fn refused(&self) -> u32 {
        let mut seat = lock(&self.0);
        seat.turn = None;
        seat.refusals = seat.refusals.saturating_add(1);
        if let Some(of) = lock(&seat.places.0).of.get_mut(&seat.who)
            && seat.is_unknown()
        {
            of.forget(&self.0);
            of.refused.push_back(Arc::downgrade(&self.0));
        }
        seat.refusals
    }

    /// The connection is no longer new: while nobody has signed in, its place may have to be given up.
    fn grown(&self) {
        let mut seat = lock(&self.0);
        seat.turn = None;
        if let Some(of) = lock(&seat.places.0).of.get_mut(&seat.who)
            && seat.is_unknown()
            && !of.refused.iter().any(|other| std::ptr::eq(other.as_ptr(), Arc::as_ptr(&self.0)))
        {
            of.unknown.push_back(Arc::downgrade(&self.0));
        }
    }

    /// Counts bytes that came; how long to read no more, where they were too many.
    pub(crate) fn spend(&self, bytes: usize) -> Option<Duration> {
        let mut seat = lock(&self.0);
        let counted = bytes.saturating_sub(seat.first);
        seat.first = seat.first.saturating_sub(bytes);
        let meter = seat.meter.clone();
        drop(seat);
        if counted == 0 { None } else { meter.spend(counted) }
    }

    /// Ends when the place is given up for a newer stranger, or nobody has signed in for long.
    pub(crate) async fn given_up(self) {
        let given_up = Arc::clone(&lock(&self.0).given_up);
        if lock(&self.0).turn.is_some() {
            sleep(GRACE).await;
            self.grown();
        }
        loop {
            tokio::select! {
                () = given_up.notified() => return,
                () = sleep(UNKNOWN) => if lock(&self.0).is_unknown() {
                    return;
                },
            }
        }
    }
}

/// Ends the connection of a stranger, and frees its place at once. The place of a caller that has signed in meanwhile is
/// free already.
fn give_up(seat: &Mutex<Seat>) {
    let (places, who) = {
        let mut seat = lock(seat);
        if !seat.is_unknown() {
            return;
        }
        seat.given_up.notify_one();
        // The connection lives for a moment yet, and counts for nobody.
        (seat.places.clone(), std::mem::replace(&mut seat.who, Who::Nobody))
    };
    places.leave(&who);
}

impl Seat {
    fn is_unknown(&self) -> bool {
        !matches!(self.who, Who::Peer(_))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.places.leave(&self.who);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn limits() -> Limits {
        Limits { connections: 8, connections_per_network: 3, connections_per_peer: 2, ..Limits::default() }
    }

    fn network(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn is_over(place: &ConnectionPlace) -> bool {
        lock(&place.0).who == Who::Nobody
    }

    #[test]
    fn strangers_take_places_from_strangers_alone() {
        let places = Places::default();
        let known = |name: &str| format!("spiffe://d/analyst/{name}").parse().unwrap();
        let signed_in = places.of_stranger(network(1), limits(), None).unwrap();
        signed_in.known(&known("a"));
        let held: Vec<ConnectionPlace> =
            (0..5).map(|_| places.of_stranger(network(1), limits(), None).unwrap()).collect();
        let over: Vec<bool> = held.iter().map(is_over).collect();
        assert_eq!(over, [true, true, false, false, false], "the oldest of the network");
        assert!(!is_over(&signed_in));
        // Those first who were refused something.
        let places = Places::default();
        let held: Vec<ConnectionPlace> =
            (0..3).map(|_| places.of_stranger(network(1), limits(), None).unwrap()).collect();
        held[1].refused();
        let newest = places.of_stranger(network(1), limits(), None).unwrap();
        assert_eq!([&held[0], &held[1], &held[2], &newest].map(is_over), [false, true, false, false]);
    }

    #[test]
    fn of_all_networks_those_give_up_who_have_most() {
        let places = Places::default();
        let known = |name: &str| format!("spiffe://d/analyst/{name}").parse().unwrap();
        let signed_in = places.of_stranger(network(1), limits(), None).unwrap();
        signed_in.known(&known("a"));
        let held: Vec<ConnectionPlace> =
            (0..3).map(|_| places.of_stranger(network(1), limits(), None).unwrap()).collect();
        // Half of all places, of all networks together: then those give up who have most.
        let more: Vec<ConnectionPlace> =
            (2..5).map(|last| places.of_stranger(network(last), limits(), None).unwrap()).collect();
        assert!(!more.iter().any(is_over) && is_over(&held[0]) && is_over(&held[1]) && !is_over(&held[2]));
        let members: Vec<ConnectionPlace> = (0..2).map(|_| places.of_peer(&known("b"), limits()).unwrap()).collect();
        assert_eq!(places.of_peer(&known("b"), limits()).err(), Some("connections_full_for_peer"));
        // One has no more places than others: a third stays its network's.
        let also: Vec<ConnectionPlace> =
            (0..1).map(|_| places.of_stranger(network(2), limits(), None).unwrap()).collect();
        also[0].known(&known("b"));
        assert!(lock(&also[0].0).is_unknown());
        drop((signed_in, held, more, members, also));
        let live = lock(&places.0);
        assert_eq!((live.total, live.strangers, live.of.len()), (0, 0, 0));
    }

    #[test]
    fn what_one_sends_is_counted_over_all_connections_and_after_them() {
        let places = Places::default();
        let flooding = || places.of_stranger(network(1), limits(), None).unwrap();
        assert_eq!(flooding().spend(FIRST), None, "a caller that signs in at once is not measured by others");
        let place = flooding();
        while place.spend(1 << 20).is_none() {}
        drop(place);
        assert!(flooding().spend(FIRST + 1).is_some(), "a new connection is no new budget");
        // A caller that signs in has its own budget, and keeps it.
        let id = "spiffe://d/analyst/a".parse().unwrap();
        let person = flooding();
        assert_eq!(person.spend(1_000), None);
        person.known(&id);
        assert_eq!(person.spend(1 << 20), None);
        while person.spend(1 << 20).is_none() {}
        drop(person);
        assert!(places.of_peer(&id, limits()).unwrap().spend(1).is_some());
        assert!(lock(&places.0).of.len() == 2);
    }
}
