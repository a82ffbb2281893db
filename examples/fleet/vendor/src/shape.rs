//! What there is: how many devices a group has, and so on down, from ids and a seed alone.
//!
//! Fan-out is skewed, as it is in fleets: half of the parents have less than half of the mean, one in a hundred has
//! thirteen times as much. Ids say where they hang: `g3-d12-k0-r5` is the sixth reading of the first data group of a device.
//!
//! Invariant: [`Shape::census`] is exact. It counts the calls that a crawl makes which asks for pages of the sizes below, and
//! for no page behind the last.

use std::fmt;
use std::str::FromStr;

/// Groups on a page.
pub const GROUPS_PAGE: u32 = 50;
/// Devices on a page.
pub const DEVICES_PAGE: u32 = 25;
/// Data groups on a page, where the caller names no limit.
pub const DATA_GROUPS_PAGE: u32 = 20;
/// Readings on a page.
pub const READINGS_PAGE: u32 = 10;
/// Alerts on a page.
pub const ALERTS_PAGE: u32 = 20;

/// Of 100 parents so many have such a percentage of the mean; the products add up to 100 times 100.
const SKEW: [(u64, u32); 4] = [(50, 40), (40, 100), (9, 300), (1, 1300)];

/// The fleet's size, and the seed that shapes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// What all fan-outs are drawn from.
    pub seed: u64,
    /// How many groups there are.
    pub groups: u32,
    /// Devices of a group, in the mean.
    pub devices: u32,
    /// Data groups of a device, in the mean.
    pub data_groups: u32,
    /// Readings of a data group, in the mean.
    pub readings: u32,
    /// Devices of the last group, where that is cut short to reach a number of calls.
    pub last_devices: Option<u32>,
    /// Customers, whom groups belong to.
    pub customers: u32,
    /// Alerts of the whole fleet.
    pub alerts: u32,
}

impl Shape {
    /// A fleet of common proportions: 20 devices a group, 4 data groups a device, 4 readings a data group.
    pub fn new(seed: u64, groups: u32) -> Self {
        Self { seed, groups, devices: 20, data_groups: 4, readings: 4, last_devices: None, customers: 8, alerts: 90 }
    }

    /// The smallest fleet of common proportions whose full crawl takes `calls` at least: more by one device's calls at most.
    pub fn of_calls(seed: u64, calls: u64) -> Self {
        let mut shape = Self::new(seed, 0);
        let mut census = Census::default();
        while census.calls_of(shape.groups) < calls {
            let group = Group(shape.groups);
            shape.groups += 1;
            let devices = shape.devices_of(group);
            let mut last = 0;
            while last < devices && census.calls_with(shape.groups, last) < calls {
                census.add_device(&shape, Device(group, last));
                last += 1;
            }
            census.add_group(last);
            shape.last_devices = (last < devices).then_some(last);
        }
        shape
    }

    /// How many devices a group has.
    pub fn devices_of(&self, group: Group) -> u32 {
        match self.last_devices {
            Some(devices) if group.0 + 1 == self.groups => devices,
            _ => self.spread(self.devices, [1, group.0, 0, 0]),
        }
    }

    /// How many data groups a device has; some have none.
    pub fn data_groups_of(&self, device: Device) -> u32 {
        self.spread(self.data_groups, [2, device.0.0, device.1, 0])
    }

    /// How many readings a data group has; some have none.
    pub fn readings_of(&self, data_group: DataGroup) -> u32 {
        let DataGroup(device, index) = data_group;
        self.spread(self.readings, [3, device.0.0, device.1, index])
    }

    /// Whether there is such a group.
    pub fn has_group(&self, group: Group) -> bool {
        group.0 < self.groups
    }

    /// Whether there is such a device.
    pub fn has_device(&self, device: Device) -> bool {
        self.has_group(device.0) && device.1 < self.devices_of(device.0)
    }

    /// Whether there is such a data group.
    pub fn has_data_group(&self, data_group: DataGroup) -> bool {
        self.has_device(data_group.0) && data_group.1 < self.data_groups_of(data_group.0)
    }

    /// The customer that a group belongs to.
    pub fn customer_of(&self, group: Group) -> u32 {
        u32::try_from(self.draw([4, group.0, 0, 0]) % u64::from(self.customers.max(1))).unwrap_or_default()
    }

    /// Draws a number that these words and the seed decide.
    pub fn draw(&self, words: [u32; 4]) -> u64 {
        let high = (u64::from(words[0]) << 32) | u64::from(words[1]);
        let low = (u64::from(words[2]) << 32) | u64::from(words[3]);
        mix(mix(mix(self.seed) ^ high) ^ low)
    }

    /// All devices, in the order of a walk.
    pub fn devices(&self) -> impl Iterator<Item = Device> + '_ {
        let groups = (0..self.groups).map(Group);
        groups.flat_map(|group| (0..self.devices_of(group)).map(move |index| Device(group, index)))
    }

    /// All data groups, in the order of a walk.
    pub fn data_groups(&self) -> impl Iterator<Item = DataGroup> + '_ {
        self.devices().flat_map(|device| (0..self.data_groups_of(device)).map(move |index| DataGroup(device, index)))
    }

    /// Counts everything, and the calls of a crawl of everything.
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for group in (0..self.groups).map(Group) {
            let devices = self.devices_of(group);
            for index in 0..devices {
                census.add_device(self, Device(group, index));
            }
            census.add_group(devices);
        }
        census.groups = self.groups;
        census
    }

    fn spread(&self, mean: u32, words: [u32; 4]) -> u32 {
        let draw = self.draw(words);
        let mut rank = draw % 100;
        let mut percent = 0;
        for (share, of_mean) in SKEW {
            percent = of_mean;
            if rank < share {
                break;
            }
            rank -= share;
        }
        let scaled = mean * percent;
        // What is left of a division is drawn, so that the mean holds for small ones as well.
        let rest = u64::from(scaled % 100);
        scaled / 100 + u32::from((draw >> 32) % 100 < rest)
    }
}

/// The finaliser of splitmix64 (Steele, Lea, Flood 2014), behind its increment.
pub fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Returns how many pages a list has: an empty list is one call, too.
pub fn pages(items: u32, page: u32) -> u32 {
    items.div_ceil(page).max(1)
}

/// What there is, and how many calls it takes to read all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Census {
    /// Groups.
    pub groups: u32,
    /// Devices.
    pub devices: u64,
    /// Data groups.
    pub data_groups: u64,
    /// Readings.
    pub readings: u64,
    /// Calls for lists of devices.
    pub device_calls: u64,
    /// Calls for lists of data groups.
    pub data_group_calls: u64,
    /// Calls for lists of readings.
    pub reading_calls: u64,
}

impl Census {
    /// Calls of a full crawl.
    pub fn calls(&self) -> u64 {
        self.calls_of(self.groups)
    }

    /// Calls for the list of groups.
    pub fn group_calls(&self) -> u64 {
        u64::from(pages(self.groups, GROUPS_PAGE))
    }

    fn calls_of(&self, groups: u32) -> u64 {
        u64::from(pages(groups, GROUPS_PAGE)) + self.device_calls + self.data_group_calls + self.reading_calls
    }

    /// Calls if the group that is being counted had so many devices.
    fn calls_with(&self, groups: u32, devices: u32) -> u64 {
        self.calls_of(groups) + u64::from(pages(devices, DEVICES_PAGE))
    }

    fn add_group(&mut self, devices: u32) {
        self.device_calls += u64::from(pages(devices, DEVICES_PAGE));
    }

    fn add_device(&mut self, shape: &Shape, device: Device) {
        let data_groups = shape.data_groups_of(device);
        self.devices += 1;
        self.data_groups += u64::from(data_groups);
        self.data_group_calls += u64::from(pages(data_groups, DATA_GROUPS_PAGE));
        for index in 0..data_groups {
            let readings = shape.readings_of(DataGroup(device, index));
            self.readings += u64::from(readings);
            self.reading_calls += u64::from(pages(readings, READINGS_PAGE));
        }
    }
}

/// A group: `g3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group(pub u32);

/// A device: `g3-d12`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device(pub Group, pub u32);

/// A data group: `g3-d12-k0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataGroup(pub Device, pub u32);

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}", self.0)
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-d{}", self.0, self.1)
    }
}

impl fmt::Display for DataGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-k{}", self.0, self.1)
    }
}

/// A text that is no id, such as one of another kind of thing.
#[derive(Debug, PartialEq, Eq)]
pub struct NoId;

fn numbered(text: &str, letter: char) -> Result<u32, NoId> {
    text.strip_prefix(letter).and_then(|number| number.parse().ok()).ok_or(NoId)
}

impl FromStr for Group {
    type Err = NoId;

    fn from_str(text: &str) -> Result<Self, NoId> {
        numbered(text, 'g').map(Self)
    }
}

impl FromStr for Device {
    type Err = NoId;

    fn from_str(text: &str) -> Result<Self, NoId> {
        let (group, device) = text.split_once('-').ok_or(NoId)?;
        Ok(Self(group.parse()?, numbered(device, 'd')?))
    }
}

impl FromStr for DataGroup {
    type Err = NoId;

    fn from_str(text: &str) -> Result<Self, NoId> {
        let (device, data_group) = text.rsplit_once('-').ok_or(NoId)?;
        Ok(Self(device.parse()?, numbered(data_group, 'k')?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_of_so_many_calls_takes_barely_more() {
        for seed in [1, 7, 2026] {
            for calls in [1, 400, 5_000, 25_000, 65_000] {
                let counted = Shape::of_calls(seed, calls).census().calls();
                assert!(counted >= calls && counted < calls + 150, "seed {seed}: {counted} for {calls}");
            }
        }
    }

    #[test]
    fn the_means_hold_and_the_fan_out_is_skewed() {
        let shape = Shape::new(3, 2_000);
        let census = shape.census();
        let mean = census.devices as f64 / 2_000.0;
        assert!((18.0..22.0).contains(&mean), "{mean}");
        let data_groups = census.data_groups as f64 / census.devices as f64;
        assert!((3.8..4.2).contains(&data_groups), "{data_groups}");
        let largest = (0..2_000).map(|group| shape.devices_of(Group(group))).max();
        assert_eq!(largest, Some(260));
    }

    #[test]
    fn ids_come_back_and_others_are_none() {
        let data_group = DataGroup(Device(Group(3), 12), 0);
        assert_eq!(data_group.to_string(), "g3-d12-k0");
        assert_eq!("g3-d12-k0".parse(), Ok(data_group));
        for text in ["", "g", "d3", "g3-k12", "g3-d12-d0", "g-d-k", "g3-d12-k0-r5"] {
            assert_eq!(text.parse::<DataGroup>(), Err(NoId), "{text}");
        }
    }

    #[test]
    fn another_seed_is_another_fleet() {
        assert_ne!(Shape::new(1, 100).census(), Shape::new(2, 100).census());
        assert_eq!(Shape::new(1, 100).census(), Shape::new(1, 100).census());
    }
}
