//! Tells what the processor can do, from the instruction set and from `/proc/cpuinfo`.
//!
//! It stands apart because it needs neither libtorch nor a GPU.

use serde::Serialize;

/// The processor as far as it matters to a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cpu {
    /// As `/proc/cpuinfo` names it.
    pub model: Option<String>,
    /// How many threads this process may run at once: affinity and container limits included.
    pub threads: usize,
    pub avx2: bool,
    pub avx512: bool,
    pub avx512_bf16: bool,
    pub amx_bf16: bool,
}

impl Cpu {
    pub fn detect() -> Cpu {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut cpu = Cpu::from_cpuinfo(&cpuinfo, threads);
        // Where /proc says nothing the processor itself does; AMX alone it cannot be asked for yet.
        #[cfg(target_arch = "x86_64")]
        {
            cpu.avx2 |= std::is_x86_feature_detected!("avx2");
            cpu.avx512 |= std::is_x86_feature_detected!("avx512f");
            cpu.avx512_bf16 |= std::is_x86_feature_detected!("avx512bf16");
        }
        cpu
    }

    /// Whether bf16 products run in hardware. Without it libtorch still computes in bf16, slower than in fp32.
    pub fn computes_bf16(&self) -> bool {
        self.avx512_bf16 || self.amx_bf16
    }

    /// The instruction sets that matter, by name.
    pub fn features(&self) -> Vec<&'static str> {
        [
            (self.avx2, "AVX2"),
            (self.avx512, "AVX-512"),
            (self.avx512_bf16, "AVX-512 bf16"),
            (self.amx_bf16, "AMX bf16"),
        ]
        .into_iter()
        .filter_map(|(has, name)| has.then_some(name))
        .collect()
    }

    fn from_cpuinfo(cpuinfo: &str, threads: usize) -> Cpu {
        let field = |wanted: &str| {
            cpuinfo
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.trim() == wanted)
                .map(|(_, value)| value.trim())
        };
        let flags: Vec<&str> = field("flags").unwrap_or_default().split(' ').collect();
        Cpu {
            model: field("model name")
                .filter(|name| !name.is_empty())
                .map(str::to_string),
            threads,
            avx2: flags.contains(&"avx2"),
            avx512: flags.contains(&"avx512f"),
            avx512_bf16: flags.contains(&"avx512_bf16"),
            amx_bf16: flags.contains(&"amx_bf16"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpuinfo_is_read_by_whole_words() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Some Processor @ 2.0: GHz\n\
                       flags\t\t: fpu avx avx512f avx512_bf16 amx_tile amx_bf16\nprocessor\t: 1\n";
        let cpu = Cpu::from_cpuinfo(cpuinfo, 2);
        assert_eq!(cpu.model.as_deref(), Some("Some Processor @ 2.0: GHz"));
        assert!(!cpu.avx2);
        assert_eq!(cpu.features(), ["AVX-512", "AVX-512 bf16", "AMX bf16"]);
        assert!(cpu.computes_bf16());
    }

    #[test]
    fn a_machine_that_tells_nothing_has_nothing() {
        let cpu = Cpu::from_cpuinfo("", 4);
        assert_eq!(cpu.features(), Vec::<&str>::new());
        assert_eq!((cpu.model, cpu.threads), (None, 4));
    }

    #[test]
    fn this_machine_has_a_thread() {
        assert!(Cpu::detect().threads >= 1);
    }
}
