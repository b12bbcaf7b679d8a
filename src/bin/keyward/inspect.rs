//! `inspect`: who holds a lock.

use std::{
    io::{self, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use keyward::{Mode, Occupancy, Owner};

use crate::{
    args,
    exit::{BUSY, End},
    say,
    take::{connect, failure, leave},
};

pub(crate) async fn inspect(inspect: args::Inspect) -> End {
    let locks = match connect(&inspect.lock).await {
        Ok(locks) => locks,
        Err(end) => return end,
    };
    let seen = locks.inspect(&inspect.lock.name).await;
    leave(&locks).await;
    let status = match seen {
        Ok(status) => status,
        Err(error) => return failure(&error),
    };
    let mut rows = vec![("name", status.name.to_string().escape_debug().to_string())];
    let held = status.is_held();
    match status.occupancy {
        Occupancy::Held { mode, owner } => {
            let mode = match mode {
                Mode::Exclusive => "exclusively",
                Mode::Shared => "shared",
            };
            rows.push(("held", mode.to_owned()));
            match owner {
                Some(owner) => rows.extend(about(&owner)),
                None => rows.push(("by", "somebody: the store does not tell who".to_owned())),
            }
        }
        _ => rows.push(("held", "no".to_owned())),
    }
    let mut out = io::stdout().lock();
    for (what, value) in rows {
        // That nobody reads on is no failure.
        drop(writeln!(out, "{what:<8} {}", say::clean(&value)));
    }
    End::Code(if held { BUSY } else { 0 })
}

/// What is known of a holder, a row each. What it says of itself may be anything.
fn about(owner: &Owner) -> Vec<(&'static str, String)> {
    let text = |text: &String| text.escape_debug().to_string();
    let rows = [
        ("host", owner.host.as_ref().map(text)),
        ("pid", owner.pid.map(|pid| pid.to_string())),
        ("session", owner.session.map(|session| session.to_string())),
        ("user", owner.user.as_ref().map(text)),
        ("since", owner.since.map(since)),
        ("token", owner.token.map(|token| token.to_string())),
    ];
    rows.into_iter().filter_map(|(what, value)| Some((what, value?))).collect()
}

/// A time, by the calendar and by how long it is ago.
fn since(time: SystemTime) -> String {
    let (Ok(epoch), ago) = (time.duration_since(UNIX_EPOCH), time.elapsed()) else {
        return "before 1970".to_owned();
    };
    let ago = ago.map_or_else(|_| "in the future".to_owned(), |ago| format!("{ago:.1?} ago"));
    format!("{} ({ago})", calendar(epoch))
}

/// Seconds since 1970 as `2026-01-31 12:34:56 UTC`.
fn calendar(epoch: Duration) -> String {
    let (mut days, second) = (epoch.as_secs() / 86_400, epoch.as_secs() % 86_400);
    let mut year = 1970;
    let is_leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second, day) = (second / 3600, second / 60 % 60, second % 60, days + 1);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_is_right() {
        let table = [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (951_868_800, "2000-03-01 00:00:00 UTC"),
            (1_767_225_599, "2025-12-31 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ];
        for (seconds, expected) in table {
            assert_eq!(calendar(Duration::from_secs(seconds)), expected);
        }
    }
}
