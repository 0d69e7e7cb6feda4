//! What can happen: the parts of benign traffic, campaigns, and how they are put together.

/// Which benign traffic there is. Parts that stand before the scenario begins are learned from.
#[derive(Clone, Debug, PartialEq)]
pub struct Benign {
    pub corporate: bool,
    pub sase: bool,
    /// Health checks and batches on the hour.
    pub batch: bool,
    /// Share of consumers on phones behind carrier NAT, instead of what is assumed.
    pub phones: Option<f64>,
    /// Share of consumers behind a VPN, instead of what is assumed.
    pub vpn: Option<f64>,
    /// Share of clients with the most popular SDK, instead of 45 %.
    pub monoculture: Option<f64>,
    /// Share of tenants' addresses that change in a day, instead of what is assumed.
    pub churn_per_day: Option<f64>,
    /// So many times as many hobbyists.
    pub hobbyists: Option<f64>,
    /// Share of direct connections that show a gap, instead of what is assumed.
    pub gap_false: Option<f64>,
    /// A launch for six hours: consumers' load is so many times what it was, from new users alone.
    pub crowd: Option<f64>,
    /// Clients of the most popular SDK move to a new release within a day.
    pub release: bool,
    /// All homes get new addresses in one night.
    pub readdress: bool,
    /// A customer whose program runs in 2,000 homes; whether through a relay.
    pub new_tenant: Option<bool>,
    /// The daemon is restarted after 12 hours, a minute later.
    pub restart: bool,
    /// Share of records that the ring loses.
    pub lost_records: f64,
}

impl Benign {
    /// Everything that is normal, together.
    #[must_use]
    pub const fn all() -> Self {
        Self {
            corporate: true,
            sase: true,
            batch: true,
            phones: None,
            vpn: None,
            monoculture: None,
            churn_per_day: None,
            hobbyists: None,
            gap_false: None,
            crowd: None,
            release: false,
            readdress: false,
            new_tenant: None,
            restart: false,
            lost_records: 0.0,
        }
    }

    /// Tenants and people at home alone.
    #[must_use]
    pub const fn plain() -> Self {
        Self { corporate: false, sase: false, batch: false, phones: Some(0.0), vpn: Some(0.0), ..Self::all() }
    }

    /// What was learned from before the scenario began: scenarios that agree in it share their past.
    #[must_use]
    pub fn past(&self) -> Self {
        Self {
            crowd: None,
            release: false,
            readdress: false,
            new_tenant: None,
            restart: false,
            lost_records: 0.0,
            ..self.clone()
        }
    }
}

/// How a campaign spreads its requests over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    Even,
    Random,
    Daily,
}

/// What client software a campaign shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// The most popular SDK.
    Popular,
    /// One that nobody else uses.
    Rare,
    /// So many of the ten browsers.
    Browsers(u8),
    /// A new one with each connection.
    Fresh,
}

/// Where a campaign's exits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Homes,
    /// /24s of 64 exits each.
    Rented,
    /// /64s of one /48.
    OneV6,
    /// A /48 each.
    ManyV6,
}

/// A campaign.
#[derive(Clone, Debug, PartialEq)]
pub struct Attack {
    pub per_s: f64,
    pub exits: u64,
    /// An identity stays on its exit for so long; `None`: a new exit with each request.
    pub sticky_s: Option<u64>,
    pub pace: Pace,
    pub client: Client,
    /// Share of exits that show the relay gap, instead of what is assumed.
    pub gap_visible: Option<f64>,
    /// Grows to its rate within this time.
    pub ramp_s: u64,
    pub place: Place,
    /// Share of the gateway's requests that are ordinary customers'.
    pub mixing: f64,
    /// Begins so long after the scenario.
    pub after_s: u64,
    pub length_s: u64,
}

impl Attack {
    /// A hydra of this rate on the most popular SDK, over 25,000 exits in homes, a new one with each request.
    #[must_use]
    pub const fn hydra(per_s: f64) -> Self {
        Self {
            per_s,
            exits: 25_000,
            sticky_s: None,
            pace: Pace::Random,
            client: Client::Popular,
            gap_visible: None,
            ramp_s: 0,
            place: Place::Homes,
            mixing: 0.0,
            after_s: 2 * 3_600,
            length_s: 86_400,
        }
    }
}

/// One scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    pub name: String,
    pub summary: String,
    pub benign: Benign,
    pub attack: Option<Attack>,
    /// Its length, seconds.
    pub length_s: u64,
}

impl Scenario {
    /// A benign one of two days.
    #[must_use]
    pub fn benign(name: &str, summary: &str, benign: Benign) -> Self {
        Self { name: name.to_owned(), summary: summary.to_owned(), benign, attack: None, length_s: 2 * 86_400 }
    }

    /// A campaign in all that is normal.
    #[must_use]
    pub fn attack(name: &str, summary: &str, attack: Attack) -> Self {
        let length_s = attack.after_s + attack.length_s;
        let (name, summary) = (name.to_owned(), summary.to_owned());
        Self { name, summary, benign: Benign::all(), attack: Some(attack), length_s }
    }
}
