//! Tells how much main memory this process may use.
//!
//! It stands apart because a container's share is not what the machine says it has.

use std::fs;

use serde::Serialize;

/// Main memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Memory {
    /// What this process may use: the machine's, or its container's share.
    pub(super) total: u64,
    pub(super) available: u64,
}

impl Memory {
    pub(super) fn of_this_process() -> Option<Memory> {
        let read = |path: &str| fs::read_to_string(path).ok();
        let machine = Memory::of_meminfo(&read("/proc/meminfo")?)?;
        // In a container, version 2 of control groups shows its own limits here.
        let number = |path: &str| read(path)?.trim().parse().ok();
        Some(machine.within(
            number("/sys/fs/cgroup/memory.max"),
            number("/sys/fs/cgroup/memory.current"),
        ))
    }

    fn of_meminfo(meminfo: &str) -> Option<Memory> {
        let bytes = |name: &str| {
            let value = meminfo
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            value
                .trim()
                .strip_suffix(" kB")?
                .parse::<u64>()
                .ok()?
                .checked_mul(1024)
        };
        Some(Memory {
            total: bytes("MemTotal")?,
            available: bytes("MemAvailable")?,
        })
    }

    fn within(self, limit: Option<u64>, used: Option<u64>) -> Memory {
        match limit {
            Some(limit) if limit < self.total => Memory {
                total: limit,
                available: self.available.min(limit.saturating_sub(used.unwrap_or(0))),
            },
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_the_container_s_where_that_is_less() {
        let meminfo =
            "MemTotal:       24000 kB\nMemFree:          100 kB\nMemAvailable:   20000 kB\n";
        let machine = Memory::of_meminfo(meminfo).unwrap();
        let kilobytes = |total: u64, available: u64| Memory {
            total: total << 10,
            available: available << 10,
        };
        assert_eq!(machine, kilobytes(24000, 20000));
        assert_eq!(
            machine.within(Some(8000 << 10), Some(3000 << 10)),
            kilobytes(8000, 5000)
        );
        assert_eq!(machine.within(Some(99_000 << 10), None), machine);
        assert_eq!(machine.within(None, None), machine);
        assert_eq!(Memory::of_meminfo("MemTotal: many kB\n"), None);
    }
}
