//! Every rate that the evaluation takes for granted, in one place: name, value, range, where it comes from.
//!
//! Nothing else in this crate holds a number about the world. `--assume NAME=VALUE` changes one, the sensitivity table
//! shows what the important ones do, and `docs/detection.md` lists them all.

use std::fmt;

/// What is known about one assumption.
#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    /// Smallest and largest value taken.
    pub range: (f64, f64),
    pub default: f64,
    pub help: &'static str,
    /// Where it comes from.
    pub source: &'static str,
}

/// Why an assumption was not changed.
#[derive(Clone, Debug, PartialEq)]
pub enum AssumptionError {
    Malformed(String),
    Unknown(String),
    Range { name: &'static str, low: f64, high: f64 },
}

impl fmt::Display for AssumptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(text) => write!(f, "`{text}` is no assumption: give NAME=VALUE, as in gap_visible=0.5"),
            Self::Unknown(name) => {
                write!(f, "no assumption is called `{name}`; docs/detection.md lists them all")
            }
            Self::Range { name, low, high } => write!(f, "{name} is out of range: give {low} to {high}"),
        }
    }
}

impl std::error::Error for AssumptionError {}

macro_rules! assumptions {
    ($($field:ident = $default:literal, $low:literal..=$high:literal, $help:literal, $source:literal;)*) => {
        /// The values taken.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Assumptions { $(#[doc = $help] pub $field: f64,)* }

        /// Every assumption, in the order of the documentation.
        pub const ROWS: &[Row] = &[$(Row {
            name: stringify!($field), range: ($low, $high), default: $default, help: $help, source: $source,
        },)*];

        impl Default for Assumptions {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl Assumptions {
            /// Values in the order of [`ROWS`].
            #[must_use]
            pub fn values(&self) -> Vec<f64> {
                vec![$(self.$field,)*]
            }

            fn slot(&mut self, name: &str) -> Option<&mut f64> {
                match name {
                    $(stringify!($field) => Some(&mut self.$field),)*
                    _ => None,
                }
            }
        }
    };
}

assumptions! {
    tenant_per_s = 3.0, 0.0..=1000.0, "Requests of tenants per second.",
        "chosen; one slice of a service whose real total is 196/s (ServeGen m-large)";
    tenants = 150.0, 1.0..=100000.0, "Tenants.", "162 clients in ServeGen m-large";
    tenant_skew = 1.1, 0.1..=4.0, "Exponent of the Zipf law of tenants' rates.",
        "top client 14-52 % of load, top eight 53 % in m-large";
    tenant_cv_median = 1.17, 0.1..=20.0, "Median coefficient of variation of a tenant's inter-arrival times.",
        "1.17 in m-large";
    tenant_cv_sigma = 1.0, 0.0..=3.0, "Spread (log-normal sigma) of that coefficient.", "p90 4.3, p99 13 in m-large";
    tenant_swing = 0.15, 0.0..=1.0, "Daily swing of tenants' rates.", "hourly means 0.79 to 1.14 in m-large";
    tenant_churn_per_day = 0.05, 0.0..=1.0, "Share of a tenant's addresses that change in a day.", "chosen";
    cloud_networks = 3000.0, 10.0..=1000000.0, "Networks (/24) that tenants' addresses come from.", "chosen";
    tenant_proxied = 0.05, 0.0..=1.0, "Share of tenants behind a forward proxy of their own.", "chosen";
    gap_tenant_proxied = 0.5, 0.0..=1.0, "Share of their connections that show a relay gap.", "assumed";
    consumer_per_s = 1.0, 0.0..=1000.0, "Requests of consumers per second.", "chosen";
    consumers = 20000.0, 100.0..=10000000.0, "Consumers.", "chosen";
    consumer_churn_per_day = 0.03, 0.0..=1.0, "Share of consumers replaced by new ones in a day.", "chosen";
    consumer_swing = 0.5, 0.0..=1.0, "Daily swing of consumers' rates.", "chosen";
    home_networks = 100000.0, 100.0..=1000000.0, "Networks (/24) that homes are in.", "chosen";
    multi_turn = 0.31, 0.0..=1.0, "Share of consumers' sessions with several turns.", "0.31 derived from Mooncake";
    turns_more = 0.95, 0.0..=20.0, "Mean turns of such a session beyond two.", "57 % of requests are theirs (Mooncake)";
    think_median_s = 123.0, 1.0..=3600.0, "Median time between two turns, seconds.", "Mooncake; p90 480 s";
    cgnat = 0.3, 0.0..=1.0, "Share of consumers on phones behind carrier NAT.", "chosen (suite B2)";
    cgnat_addresses = 200.0, 1.0..=10000.0, "Addresses of carrier NAT.", "chosen (suite B2)";
    vpn = 0.03, 0.0..=1.0, "Share of consumers behind a VPN.", "chosen";
    vpn_networks = 60.0, 1.0..=10000.0, "Networks that VPN exits are in.", "chosen";
    hobbyists = 0.05, 0.0..=1.0, "Share of consumers who use a server SDK at home.", "chosen";
    corporate_per_s = 0.2, 0.0..=100.0, "Requests per second from 20 companies behind NAT.", "chosen (suite B3)";
    sase_per_s = 0.1, 0.0..=100.0, "Requests per second through filtering proxies (SASE) in 40 networks.",
        "chosen (suite B4)";
    gap_visible = 0.85, 0.0..=1.0, "Share of a campaign's exits whose connections show the relay gap.",
        "assumed; every leg of 30 ms or more showed it in the lab";
    gap_strong = 0.9, 0.0..=1.0, "Share of relays with a late first flight too (F1a).",
        "SOCKS and CONNECT relays: all; TCP forwarders: none (lab)";
    gap_false = 0.02, 0.0..=0.5, "Share of direct connections that show a gap.", "1.5 % in the lab, 0.5 % without curl";
    gap_false_strong = 0.1, 0.0..=1.0, "Share of these with a late first flight too.", "2 of 21 in the lab";
    gap_false_mobile = 0.06, 0.0..=0.5, "Share of phones' connections that show a gap.", "assumed; Wi-Fi 1.9 % in the lab";
    gap_vpn = 0.8, 0.0..=1.0, "Share of VPN and SASE exits that show the gap.", "assumed";
    gap_unknown = 0.02, 0.0..=1.0, "Share of connections without a valid gap sample.", "lab: 0-RTT and Fast Open only";
    leg_median_ms = 80.0, 30.0..=1000.0, "Median gap of a relay that shows it, milliseconds.", "assumed";
    exits_in_homes = 0.15, 0.0..=1.0, "Share of exits in networks that ordinary consumers use.", "assumed";
    exits_per_network = 1.1, 1.0..=256.0, "Exits per network of a residential pool.", "449 exits in 410 /24s (live pool)";
}

impl Assumptions {
    /// Takes `NAME=VALUE`.
    ///
    /// # Errors
    /// If the text is not of this form, the name unknown or the value out of range; nothing changes then.
    pub fn set(&mut self, text: &str) -> Result<(), AssumptionError> {
        let malformed = || AssumptionError::Malformed(text.to_owned());
        let (name, value) = text.split_once('=').ok_or_else(malformed)?;
        let value: f64 = value.parse().map_err(|_| malformed())?;
        let Some(row) = ROWS.iter().find(|row| row.name == name) else {
            return Err(AssumptionError::Unknown(name.to_owned()));
        };
        let (low, high) = row.range;
        // Not a number is in no range.
        if !(low..=high).contains(&value) {
            return Err(AssumptionError::Range { name: row.name, low, high });
        }
        if let Some(slot) = self.slot(name) {
            *slot = value;
        }
        Ok(())
    }

    /// Mean requests per second of the base traffic.
    #[must_use]
    pub fn load_per_s(&self) -> f64 {
        self.tenant_per_s + self.consumer_per_s + self.corporate_per_s + self.sase_per_s
    }
}

#[cfg(test)]
mod tests {
    use super::{Assumptions, ROWS};

    #[test]
    fn every_default_is_in_its_range() {
        for (row, value) in ROWS.iter().zip(Assumptions::default().values()) {
            assert!((row.range.0..=row.range.1).contains(&value) && value == row.default, "{}", row.name);
        }
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let mut assumptions = Assumptions::default();
        for text in ["gap_visible", "gap_visible=", "gap_visible=2", "gap_visible=NaN", "gap=0.5", ""] {
            assert!(assumptions.set(text).is_err(), "{text}");
        }
        assert_eq!(assumptions, Assumptions::default());
        assumptions.set("gap_visible=0.5").expect("it is in range");
        assert_eq!(assumptions.gap_visible, 0.5);
    }
}
