//! How many connections serve a load, and how long one is waited for.
#![forbid(unsafe_code)]

/// As many as a server may have (`max_connections` is at most 2^18 - 1).
pub const MOST_CONNECTIONS: u32 = 262_143;

/// A pool is sized so that its connections are busy for no more of the time than that: what is left takes bursts.
pub const HEADROOM: f64 = 0.8;

/// And so that the mean wait for a connection is at most this part of the time for which one is used.
pub const WAIT_SHARE: f64 = 0.1;

/// Where nobody has measured it: of the time that a connection is busy it computes half, and waits for the rest.
pub const CPU_SHARE: f64 = 0.5;

/// Transactions that come, and how long each keeps its connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    pub arrivals_per_second: f64,
    pub service_seconds: f64,
}

impl Load {
    /// How many connections are busy on average: J. D. C. Little, "A Proof for the Queuing Formula L = λW",
    /// Operations Research 9 (1961).
    pub fn busy(self) -> f64 {
        self.arrivals_per_second * self.service_seconds
    }
}

/// Erlang's loss formula B(c, a), by its recursion B(0) = 1, B(c) = a B(c-1) / (c + a B(c-1)), one server after the
/// other from the first.
fn losses(offered: f64) -> impl Iterator<Item = (u32, f64)> {
    let mut blocked = 1.0;
    (1..=MOST_CONNECTIONS).map(move |servers| {
        blocked = offered * blocked / (f64::from(servers) + offered * blocked);
        (servers, blocked)
    })
}

/// Erlang's delay formula C(c, a) = B / (1 - (a/c) (1 - B)), for a < c.
fn delayed(servers: u32, offered: f64, blocked: f64) -> f64 {
    blocked / (1.0 - offered / f64::from(servers) * (1.0 - blocked))
}

/// What a pool of that many connections makes of a load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlook {
    pub offered: f64,
    pub utilization: f64,
    /// Of those who ask for a connection, the part that has to wait for one.
    pub wait_probability: f64,
    /// None where more comes than can be served: the queue grows without end.
    pub waits: Option<Waits>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Waits {
    pub mean_seconds: f64,
    /// All but one in twenty wait no longer.
    pub p95_seconds: f64,
    pub queue_length: f64,
}

/// The queue M/M/c: arrivals at random, exponential service times, one queue, c connections.
/// Source: L. Kleinrock, "Queueing Systems", volume 1 (1975), section 3.5; the formula is A. K. Erlang's (1917).
pub fn outlook(servers: u32, load: Load) -> Outlook {
    let offered = load.busy();
    let utilization = offered / f64::from(servers);
    if utilization >= 1.0 {
        return Outlook { offered, utilization, wait_probability: 1.0, waits: None };
    }
    let (_, blocked) = losses(offered).nth(servers as usize - 1).expect("no more servers than connections");
    let probability = delayed(servers, offered, blocked);
    // How fast the queue empties while all connections are busy: c/S - λ.
    let drain = f64::from(servers) / load.service_seconds - load.arrivals_per_second;
    let mean_seconds = probability / drain;
    // P(W > t) = C e^(-drain t).
    let p95_seconds = ((probability / 0.05).ln() / drain).max(0.0);
    let queue_length = load.arrivals_per_second * mean_seconds;
    let waits = Some(Waits { mean_seconds, p95_seconds, queue_length });
    Outlook { offered, utilization, wait_probability: probability, waits }
}

/// The least connections that leave the headroom and keep the wait short.
pub fn needed(load: Load) -> f64 {
    let offered = load.busy();
    let headroom = (offered / HEADROOM).ceil().max(1.0);
    if headroom > f64::from(MOST_CONNECTIONS) {
        return headroom;
    }
    let is_enough = |&(servers, blocked): &(u32, f64)| {
        let spare = f64::from(servers) - offered;
        // The mean wait over the service time: C S / (c - a) / S.
        f64::from(servers) >= headroom && delayed(servers, offered, blocked) / spare <= WAIT_SHARE
    };
    losses(offered).find(is_enough).map_or(f64::from(MOST_CONNECTIONS), |(servers, _)| f64::from(servers))
}

/// How many busy connections keep the cores busy: cores / (part of the time that a connection computes), and one more.
/// Source: B. Goetz, "Java Concurrency in Practice" (2006), section 8.2, N = cores (1 + wait/compute); with half of the
/// time computing it is the PostgreSQL wiki's cores * 2 + effective spindles ("Number Of Database Connections").
pub fn core_limit(cores: u32, cpu_share: f64) -> u32 {
    let limit = (f64::from(cores) / cpu_share).floor() + 1.0;
    limit.min(f64::from(MOST_CONNECTIONS)) as u32
}

/// What keeps a pool from being larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Nothing: it is as large as the load wants.
    Load,
    Cores,
    Connections,
}

impl Limit {
    pub fn word(self) -> &'static str {
        match self {
            Limit::Load => "load",
            Limit::Cores => "cores",
            Limit::Connections => "connections",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    /// What the load wants, whatever there is.
    pub needed: f64,
    pub core_limit: u32,
    pub recommended: u32,
    pub limited_by: Limit,
}

/// The size of a pool for a load, no larger than the cores can use and the server has connections.
pub fn size(load: Load, connections: u32, cores: u32, cpu_share: f64) -> Size {
    let needed = needed(load);
    let core_limit = core_limit(cores, cpu_share);
    let most = core_limit.min(connections);
    let (recommended, limited_by) = if needed <= f64::from(most) {
        (needed as u32, Limit::Load)
    } else if core_limit <= connections {
        (core_limit, Limit::Cores)
    } else {
        (connections, Limit::Connections)
    };
    Size { needed, core_limit, recommended, limited_by }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(arrivals_per_second: f64, service_seconds: f64) -> Load {
        Load { arrivals_per_second, service_seconds }
    }

    fn close(found: f64, wanted: f64) {
        assert!((found - wanted).abs() <= 1e-6 * wanted.abs().max(1e-6), "{found} instead of {wanted}");
    }

    #[test]
    fn one_server_waits_as_m_m_1_does() {
        // C = rho and W = rho S / (1 - rho).
        let one = outlook(1, load(50.0, 0.01));
        close(one.utilization, 0.5);
        close(one.wait_probability, 0.5);
        let waits = one.waits.expect("half of the time it is free");
        close(waits.mean_seconds, 0.01);
        close(waits.queue_length, 0.5);
        close(waits.p95_seconds, 10f64.ln() / 50.0);
    }

    #[test]
    fn two_servers_wait_as_the_closed_form_says() {
        // C(2, a) = a^2 / (2 + a).
        let two = outlook(2, load(100.0, 0.015));
        close(two.wait_probability, 1.5 * 1.5 / 3.5);
    }

    #[test]
    fn tables_of_erlang_c_are_met() {
        // C(10, 8) and C(5, 4), as printed in tables of the formula.
        close((outlook(10, load(8.0, 1.0)).wait_probability * 1e4).round(), 4092.0);
        close((outlook(5, load(4.0, 1.0)).wait_probability * 1e4).round(), 5541.0);
    }

    #[test]
    fn the_sum_of_poisson_terms_comes_to_the_same() {
        // The definition, term by term: a^c/c! * c/(c-a) over the sum below c and itself.
        for (servers, offered) in [(1u32, 0.3f64), (3, 2.9), (8, 1.0), (20, 17.0)] {
            let mut term = 1.0;
            let mut below = 0.0;
            for n in 0..servers {
                below += term;
                term *= offered / f64::from(n + 1);
            }
            let all_busy = term * f64::from(servers) / (f64::from(servers) - offered);
            close(outlook(servers, load(offered, 1.0)).wait_probability, all_busy / (below + all_busy));
        }
    }

    #[test]
    fn more_than_can_be_served_waits_for_ever() {
        for arrivals in [100.0, 101.0] {
            let full = outlook(1, load(arrivals, 0.01));
            assert_eq!((full.wait_probability, full.waits), (1.0, None));
        }
        let idle = outlook(3, load(0.0, 0.01));
        assert_eq!((idle.utilization, idle.wait_probability), (0.0, 0.0));
        assert_eq!(idle.waits.expect("nobody comes").mean_seconds, 0.0);
    }

    #[test]
    fn the_largest_pool_is_worked_out() {
        let large = outlook(MOST_CONNECTIONS, load(200_000.0, 1.0));
        assert!(large.wait_probability >= 0.0 && large.wait_probability < 1e-6);
        let waits = outlook(MOST_CONNECTIONS, load(262_142.0, 1.0)).waits.expect("just so");
        assert!(waits.mean_seconds.is_finite() && waits.mean_seconds > 0.0);
    }

    #[test]
    fn what_is_needed_is_the_least_that_keeps_both_promises() {
        for (arrivals, service) in [(0.0, 1.0), (0.1, 1.0), (10.0, 0.2), (2_000.0, 0.05), (100_000.0, 0.02)] {
            let load = load(arrivals, service);
            let servers = needed(load) as u32;
            let keeps = |servers: u32| {
                let outlook = outlook(servers, load);
                outlook.utilization <= HEADROOM
                    && outlook.waits.is_some_and(|w| w.mean_seconds <= WAIT_SHARE * service)
            };
            assert!(keeps(servers), "{servers} for {load:?}");
            assert!(servers == 1 || !keeps(servers - 1), "{servers} is not the least for {load:?}");
        }
        assert_eq!(needed(load(1_000_000.0, 86_400.0)), 108_000_000_000.0);
    }

    #[test]
    fn cores_and_connections_bound_the_pool() {
        let heavy = load(2_000.0, 0.05);
        assert_eq!(core_limit(8, 0.5), 17);
        assert_eq!(core_limit(8, 1.0), 9);
        assert_eq!(core_limit(8, 0.1), 81);
        let found = size(heavy, 160, 64, 0.5);
        assert_eq!((found.recommended, found.limited_by), (125, Limit::Load));
        let found = size(heavy, 160, 8, 0.5);
        assert_eq!((found.recommended, found.limited_by), (17, Limit::Cores));
        let found = size(heavy, 80, 64, 0.5);
        assert_eq!((found.recommended, found.limited_by), (80, Limit::Connections));
        assert_eq!(size(load(0.0, 0.05), 80, 8, 0.5).recommended, 1);
    }
}
