//! What users ask for, on machines that are described instead of looked at.

use super::*;

fn with(cuda: Cuda) -> Runtime {
    Runtime {
        libtorch_version: None,
        libtorch_folder: None,
        cuda,
    }
}

fn gpus(capabilities: &[Option<(u32, u32)>]) -> Runtime {
    with(Cuda::Loaded {
        library: "libtorch_cuda.so".into(),
        driver: None,
        devices: capabilities
            .iter()
            .enumerate()
            .map(|(index, &capability)| Gpu {
                index,
                name: None,
                memory: None,
                capability,
            })
            .collect(),
    })
}

fn cpu(avx512_bf16: bool) -> Cpu {
    Cpu {
        model: None,
        threads: 1,
        avx2: true,
        avx512: avx512_bf16,
        avx512_bf16,
        amx_bf16: false,
    }
}

fn no_driver() -> Runtime {
    with(Cuda::NoDriver {
        reason: "there is no NVIDIA driver on this machine".into(),
    })
}

#[test]
fn all_are_all_gpus_or_the_cpu() {
    let two = gpus(&[Some((9, 0)), Some((9, 0))]);
    let devices = DeviceChoice::All.resolve_all(&two).unwrap();
    assert_eq!(devices, [Device::Cuda(0), Device::Cuda(1)]);
    assert_eq!(DeviceChoice::Auto.resolve_all(&two).unwrap(), devices[..1]);
    assert_eq!(
        DeviceChoice::All.resolve_all(&no_driver()).unwrap(),
        [Device::Cpu]
    );
}

#[test]
fn gpus_that_do_not_compute_are_left_out_and_the_cpu_takes_over() {
    let broken = |device: Device| DeviceError::Broken {
        device: name_of(device),
        kind: Kind::Float,
        reason: "no kernel image is available".into(),
    };
    let gpus = vec![Device::Cuda(0), Device::Cuda(1)];
    let second_computes = |device| match device {
        Device::Cuda(1) => Ok(()),
        _ => Err(broken(device)),
    };
    assert_eq!(
        that_compute(gpus.clone(), second_computes),
        [Device::Cuda(1)]
    );
    let none_does = |device| Err(broken(device));
    assert_eq!(that_compute(gpus, none_does), [Device::Cpu]);
    assert_eq!(that_compute(vec![Device::Cpu], none_does), [Device::Cpu]);
}

#[test]
fn each_gpu_gets_a_batch_of_its_own_within_bounds() {
    assert_eq!([0, 1, 2, 100].map(batch_of), [64, 256, 512, 1024]);
    assert_eq!(DeviceChoice::Cpu.usual_batch(), 64);
}

#[test]
fn devices_are_read_and_written() {
    for text in ["auto", "cpu", "cuda:0", "cuda:13", "all"] {
        assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
    }
    assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
    for text in [
        "",
        "gpu",
        "CPU",
        "cuda:",
        "cuda:x",
        "cuda:-1",
        "cuda:+1",
        "cuda:99999999999999999999",
    ] {
        let error = text.parse::<DeviceChoice>().unwrap_err().to_string();
        assert!(error.contains(text) && error.contains("cuda:0"), "{error}");
    }
    for text in ["auto", "fp32", "bf16", "fp16"] {
        assert_eq!(text.parse::<Precision>().unwrap().to_string(), text);
    }
    assert!("float16".parse::<Precision>().is_err());
}

#[test]
fn auto_takes_the_first_gpu_or_the_cpu() {
    let two = gpus(&[Some((9, 0)), Some((8, 6))]);
    assert_eq!(DeviceChoice::Auto.resolve(&two), Ok(Device::Cuda(0)));
    assert_eq!(DeviceChoice::Cpu.resolve(&two), Ok(Device::Cpu));
    assert_eq!(DeviceChoice::Cuda(1).resolve(&two), Ok(Device::Cuda(1)));
    assert_eq!(DeviceChoice::Auto.resolve(&no_driver()), Ok(Device::Cpu));
    let broken = with(Cuda::Failed {
        reason: "of dust".into(),
    });
    assert_eq!(DeviceChoice::Auto.resolve(&broken), Ok(Device::Cpu));
}

#[test]
fn a_gpu_that_is_not_there_is_an_error_that_counts() {
    let error =
        |choice: DeviceChoice, runtime: &Runtime| choice.resolve(runtime).unwrap_err().to_string();
    assert_eq!(
        error(DeviceChoice::Cuda(3), &gpus(&[None])),
        "cuda:3 was asked for, but this machine has 1 GPU: cuda:0"
    );
    assert_eq!(
        error(DeviceChoice::Cuda(2), &gpus(&[None, None])),
        "cuda:2 was asked for, but this machine has 2 GPUs: cuda:0 to cuda:1"
    );
    assert_eq!(
        error(DeviceChoice::Cuda(0), &no_driver()),
        "cuda:0 was asked for, but there is no NVIDIA driver on this machine"
    );
}

#[test]
fn the_cpu_computes_and_a_gpu_that_is_not_there_does_not() {
    assert_eq!(try_out(Device::Cpu, Kind::Float), Ok(()));
    assert_eq!(try_out(Device::Cpu, Kind::BFloat16), Ok(()));
    let error = try_out(Device::Cuda(99), Kind::Float)
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("cuda:99 does not compute"), "{error}");
    assert_eq!(error.lines().count(), 1);
}

#[test]
fn precision_follows_what_the_device_can_do() {
    let runtime = gpus(&[Some((9, 0)), Some((7, 5)), Some((6, 1)), None]);
    let on =
        |precision: Precision, index| precision.resolve(Device::Cuda(index), &runtime, &cpu(false));
    assert_eq!(on(Precision::Auto, 0), Ok(Kind::BFloat16));
    assert_eq!(on(Precision::Auto, 1), Ok(Kind::Half));
    assert_eq!(on(Precision::Auto, 2), Ok(Kind::Float));
    assert_eq!(on(Precision::Auto, 3), Ok(Kind::Float));
    assert_eq!(on(Precision::Fp32, 0), Ok(Kind::Float));
    assert_eq!(on(Precision::Bf16, 3), Ok(Kind::BFloat16));
    assert_eq!(
        on(Precision::Bf16, 1).unwrap_err().to_string(),
        "bf16 cannot be computed on cuda:1 (compute capability 7.5): \
         bf16 needs compute capability 8.0; take fp16"
    );
    let on_cpu = |precision: Precision| precision.resolve(Device::Cpu, &runtime, &cpu(true));
    assert_eq!(on_cpu(Precision::Auto), Ok(Kind::BFloat16));
    let without = Precision::Auto.resolve(Device::Cpu, &runtime, &cpu(false));
    assert_eq!(without, Ok(Kind::Float));
    assert_eq!(on_cpu(Precision::Fp32), Ok(Kind::Float));
    assert_eq!(on_cpu(Precision::Bf16), Ok(Kind::BFloat16));
    assert!(on_cpu(Precision::Fp16).is_err());
}
