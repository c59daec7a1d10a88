//! What became of every message and call: written down as it happens, settled at the end.

use std::collections::BTreeMap;

use handclasp::{Executed, Priority};

use super::app::is_unordered;
use super::net::Conn;

/// Why a message came back to its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Returned {
    /// Its time was over before it was sent.
    Expired,
    /// The peer is not dialled any more.
    GivenUp,
    /// Trust in the peer was withdrawn.
    Revoked,
    /// The link would not have it.
    Refused,
    /// The sender was shut down first.
    Leftover,
}

/// What became of a message or call, as its sender knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing so far. For a message that was delivered it stays so.
    Open,
    /// A message came back.
    Returned(Returned),
    /// A call was answered, by its service or by the peer in its place.
    Answered,
    /// A call failed.
    Failed(Executed),
    /// Its caller gave a call up.
    Cancelled,
}

/// One message or call.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The host that sent it.
    pub from: usize,
    /// Which life of that host.
    pub life: u32,
    /// The host that it is for.
    pub to: usize,
    /// Its priority.
    pub priority: Priority,
    /// A call, not a message.
    pub call: bool,
    /// The connection whose link took it, for a call.
    pub(super) conn: Option<usize>,
    /// What became of it at its sender.
    pub fate: Fate,
    /// The application that it is for has been given it.
    pub delivered: bool,
    /// Trust in its receiver was withdrawn while it was under way: nothing is said of it any more.
    pub revoked: bool,
}

/// Messages of one priority from one life of a host to another host.
type Stream = (usize, u32, usize, Priority);

/// How many messages came to which end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Messages that were delivered.
    pub delivered: u64,
    /// Messages that came back because their time was over.
    pub expired: u64,
    /// Messages that came back for another reason.
    pub returned: u64,
    /// Messages that were sealed and not seen any more: their links have said so many, at least, to be unknown.
    pub unknown: u64,
    /// Messages and calls that were lost with their sender, or given up with their receiver.
    pub moot: u64,
    /// Calls that were answered.
    pub answered: u64,
    /// Calls that failed.
    pub failed: u64,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: Vec<Entry>,
    /// For each stream and each of its routes, the first and the last message that came by it.
    order: BTreeMap<Stream, BTreeMap<usize, (usize, usize)>>,
    /// Lives that ended without a word.
    crashed: Vec<(usize, u32)>,
}

impl Ledger {
    /// A message or call is about to be sent: its number.
    pub(super) fn open(&mut self, from: (usize, u32), to: usize, priority: Priority, call: bool) -> usize {
        let (from, life) = from;
        let fate = Fate::Open;
        let entry =
            Entry { from, life, to, priority, call, conn: None, fate, delivered: false, revoked: false };
        self.entries.push(entry);
        self.entries.len() - 1
    }

    /// The last one was not taken.
    pub(super) fn strike(&mut self) {
        self.entries.pop();
    }

    pub(super) fn get(&self, number: usize) -> Option<&Entry> {
        self.entries.get(number)
    }

    fn entry(&mut self, number: usize) -> Result<&mut Entry, String> {
        self.entries.get_mut(number).ok_or_else(|| format!("#{number} was never sent"))
    }

    /// The link at an end of this connection has taken a call.
    pub(super) fn called(&mut self, number: usize, conn: usize) {
        if let Some(entry) = self.entries.get_mut(number) {
            entry.conn = Some(conn);
        }
    }

    /// An application was given a message or call, by the sender's link that was its `route`th.
    pub(super) fn deliver(
        &mut self,
        number: usize,
        from: usize,
        to: usize,
        call: bool,
        route: Option<usize>,
    ) -> Result<(), String> {
        let entry = self.entry(number)?;
        let seen = *entry;
        if (seen.from, seen.to, seen.call) != (from, to, call) {
            return Err(format!("#{number} came to host {to} from host {from}, but it is {seen:?}"));
        }
        if core::mem::replace(&mut entry.delivered, true) {
            return Err(format!("#{number} was delivered twice: {seen:?}"));
        }
        match seen.fate {
            Fate::Returned(why) => {
                return Err(format!("#{number} was delivered, but had come back ({why:?}): {seen:?}"));
            }
            Fate::Failed(Executed::No) => {
                return Err(format!("#{number} was executed, but had failed with Executed::No"));
            }
            _ => {}
        }
        let route = route.ok_or_else(|| format!("#{number} came by a link that was never the route"))?;
        if !call && is_unordered(number) {
            return Ok(());
        }
        let stream = (seen.from, seen.life, seen.to, seen.priority);
        let order = self.order.entry(stream).or_default();
        let before = order.range(..=route).next_back().map(|(_, (_, last))| *last);
        let behind = order.range(route + 1..).next().map(|(_, (first, _))| *first);
        if before.is_some_and(|before| before > number) || behind.is_some_and(|behind| behind < number) {
            return Err(format!(
                "#{number} is out of order on route {route}: {seen:?}; before it #{before:?}, \
                 and on a later route already #{behind:?}"
            ));
        }
        let (_, last) = order.entry(route).or_insert((number, number));
        *last = number;
        Ok(())
    }

    /// A message came back.
    pub(super) fn give_back(&mut self, number: usize, why: Returned) -> Result<(), String> {
        let entry = self.entry(number)?;
        if entry.delivered || entry.call || entry.fate != Fate::Open {
            return Err(format!("#{number} came back ({why:?}), but it is {entry:?}"));
        }
        entry.fate = Fate::Returned(why);
        Ok(())
    }

    /// A call has come to its end at the caller.
    pub(super) fn resolve(&mut self, number: usize, fate: Fate) -> Result<(), String> {
        let entry = self.entry(number)?;
        if !entry.call || entry.fate != Fate::Open {
            return Err(format!("#{number} has a second outcome ({fate:?}): {entry:?}"));
        }
        if fate == Fate::Failed(Executed::No) && entry.delivered {
            return Err(format!("#{number} failed with Executed::No, but was executed: {entry:?}"));
        }
        entry.fate = fate;
        Ok(())
    }

    /// Trust was withdrawn: of what is under way to that peer nothing needs to be said.
    pub(super) fn revoke(&mut self, from: usize, life: u32, to: usize) {
        for entry in
            self.entries.iter_mut().filter(|entry| (entry.from, entry.life, entry.to) == (from, life, to))
        {
            entry.revoked |= !entry.call && entry.fate == Fate::Open;
        }
    }

    /// A host's life ended without a word.
    pub(super) fn crash(&mut self, host: usize, life: u32) {
        self.crashed.push((host, life));
    }

    /// Messages that a life of a host has sent and that have come to no end.
    pub(super) fn open_ones(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.entries.iter().enumerate().filter(|(_, entry)| {
            entry.fate == Fate::Open
                && (entry.call || !entry.delivered)
                && !entry.revoked
                && !self.crashed.contains(&(entry.from, entry.life))
        })
    }

    /// A link delivers what it has sealed from the front: of what went by one route nothing is missing between
    /// the first and the last that came.
    fn without_gaps(&self) -> Result<(), String> {
        let mut streams: BTreeMap<Stream, Vec<usize>> = BTreeMap::new();
        for (number, entry) in self.entries.iter().enumerate() {
            let moot = entry.revoked || self.crashed.contains(&(entry.from, entry.life));
            if !entry.call && !entry.delivered && entry.fate == Fate::Open && !moot {
                let stream = (entry.from, entry.life, entry.to, entry.priority);
                streams.entry(stream).or_default().push(number);
            }
        }
        for (stream, missing) in streams {
            let came = self.order.get(&stream).into_iter().flatten();
            for (route, (first, last)) in came {
                let gap = missing.iter().find(|number| (*first..*last).contains(number));
                if let Some(gap) = gap {
                    return Err(format!(
                        "#{gap} is missing on route {route} of {stream:?}, by which #{first} to #{last} came"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Settles everything, once nothing is under way any more. `conns` says what each link has sealed and
    /// taken.
    pub(super) fn settle(&self, conns: &[Conn]) -> Result<Account, String> {
        self.without_gaps()?;
        for (place, conn) in conns.iter().enumerate() {
            if let Some(end) = conn.ends.iter().find(|end| end.tally.unknown > end.tally.sealed) {
                return Err(format!(
                    "a link by connection {place} has more unknown than it has sealed: {:?}",
                    end.tally
                ));
            }
        }
        let mut account = Account::default();
        let mut unknown: BTreeMap<(usize, u32, usize), Vec<usize>> = BTreeMap::new();
        for (number, entry) in self.entries.iter().enumerate() {
            let crashed = self.crashed.contains(&(entry.from, entry.life));
            match entry.fate {
                Fate::Answered => account.answered += 1,
                Fate::Failed(_) | Fate::Cancelled => account.failed += 1,
                Fate::Returned(Returned::Expired) => account.expired += 1,
                Fate::Returned(_) => account.returned += 1,
                Fate::Open if entry.delivered && !entry.call => account.delivered += 1,
                Fate::Open if crashed || entry.revoked => account.moot += 1,
                Fate::Open if entry.call => return Err(format!("#{number} has no outcome: {entry:?}")),
                Fate::Open => {
                    account.unknown += 1;
                    unknown.entry((entry.from, entry.life, entry.to)).or_default().push(number);
                }
            }
        }
        // Calls that were sealed and not seen: they are among what their links have sealed.
        let mut unseen: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        let sealed = self
            .entries
            .iter()
            .filter(|entry| entry.fate == Fate::Failed(Executed::Unknown) && !entry.delivered);
        for (conn, from) in sealed.filter_map(|entry| Some((entry.conn?, entry.from))) {
            *unseen.entry((conn, from)).or_default() += 1;
        }
        for ((from, life, to), lost) in unknown {
            // What may be lost: sealed for a link that did not end in good order, and not taken; and no more than
            // that link has said to be unknown. So no message is lost that its link holds for delivered.
            let mut excuse = 0;
            for (place, conn) in conns.iter().enumerate() {
                for side in [0, 1] {
                    let (own, other) = (&conn.ends[side], &conn.ends[1 - side]);
                    let orderly = own.tally.orderly && other.tally.orderly;
                    if (own.host, own.life, other.host) == (from, life, to) && !orderly {
                        let unseen = unseen.get(&(place, from)).copied().unwrap_or(0);
                        let missing = own.tally.sealed.saturating_sub(other.tally.taken + unseen);
                        excuse += missing.min(own.tally.unknown);
                    }
                }
            }
            if lost.len() as u64 > excuse {
                return Err(format!(
                    "{} messages from host {from} (life {life}) to host {to} are lost without a word, and \
                     links that broke can have lost {excuse} at most: {lost:?}",
                    lost.len()
                ));
            }
        }
        Ok(account)
    }
}
