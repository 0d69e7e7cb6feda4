//! What the program costs the verifier and the stack, against a budget for this kernel.
//!
//! Figures differ between kernels and compilers, so budgets are kept by kernel release and a quarter of slack is
//! given. `SENSOR_UPDATE_GOLDEN=1` writes the figures of this machine as its budget.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use aya_obj::generated::bpf_insn;
use aya_obj::{EbpfSectionKind, Object};
use sensor::kernel::xdp::OBJECT;
use sensor_common::names;
use sensor_tests::executor::kernel::Kernel;
use sensor_tests::require::{Tier, require};

/// How far a figure may exceed its budget, percent.
const SLACK_PERCENT: u64 = 25;
/// Stack that the kernel gives to all frames of a call chain together, bytes.
const STACK_MAX: u64 = 512;
/// To how much a frame is rounded up where programs are compiled to machine code, from Linux 6.9 on.
const FRAME_BYTES: u64 = 16;
/// To how much it is rounded up before.
const OLD_FRAME_BYTES: u64 = 32;

#[test]
fn the_program_stays_within_its_budget() {
    if !require(Tier::Bpf) {
        return;
    }
    let figures = figures();
    let path = budget_path();
    let text = figures.iter().fold(String::new(), |mut text, (name, figure)| {
        let _ = writeln!(text, "{name} {figure}");
        text
    });
    if std::env::var_os("SENSOR_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).expect("the budget can be written");
    }
    let Ok(budget) = std::fs::read_to_string(&path) else {
        println!("no budget for this kernel ({}); figures:\n{text}", path.display());
        return;
    };
    let mut over = Vec::new();
    for line in budget.lines() {
        let (name, most) = line.split_once(' ').expect("a figure's name and value");
        let most: u64 = most.parse().expect("a whole number");
        let is = figures.get(name).copied().unwrap_or_else(|| panic!("no figure {name}"));
        let change = 100.0 * (is as f64 - most as f64) / most as f64;
        println!("{name}: {is}, budget {most} ({change:+.1} %)");
        if is * 100 > most * (100 + SLACK_PERCENT) {
            over.push(format!("{name} is {is}, {change:+.1} % of its budget of {most}"));
        }
    }
    assert!(over.is_empty(), "over budget by more than {SLACK_PERCENT} %:\n{}", over.join("\n"));
    assert!(figures["stack_bytes"] <= STACK_MAX, "the stack does not fit");
    if figures["stack_bytes_before_6_9"] > STACK_MAX {
        println!(
            "kernels before 6.9 refuse the program: its frames take {} bytes there",
            figures["stack_bytes_before_6_9"]
        );
    }
}

fn budget_path() -> PathBuf {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel has a release");
    let version: Vec<&str> = release.split('.').take(2).collect();
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(format!("verifier-{}.txt", version.join(".")))
}

fn figures() -> BTreeMap<&'static str, u64> {
    let mut kernel = Kernel::load().expect("the program loads");
    let info = kernel.program().expect("it is there").info().expect("it can be asked");
    BTreeMap::from([
        ("verified_instructions", info.verified_instruction_count().map_or(0, u64::from)),
        ("translated_bytes", info.size_translated().map_or(0, u64::from)),
        ("jited_bytes", u64::from(info.size_jitted())),
        ("stack_bytes", stack_bytes(FRAME_BYTES)),
        ("stack_bytes_before_6_9", stack_bytes(OLD_FRAME_BYTES)),
    ])
}

/// The stack of the deepest call chain, as the kernel counts it: every frame rounded up. Read from the instructions,
/// because aya hands out the verifier's log of refused programs only.
fn stack_bytes(grain: u64) -> u64 {
    let mut object = Object::parse(OBJECT).expect("the object is well-formed");
    let text: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    object.relocate_calls(&text).expect("calls can be linked");
    let program = object.programs.get(names::PROGRAM).expect("the program is there");
    let code = &object.functions[&program.function_key()].instructions;
    deepest(&subprograms(code), 0, grain)
}

/// One function: its frame, and where it calls to.
struct Subprogram {
    frame: u64,
    calls: BTreeSet<usize>,
}

fn subprograms(code: &[bpf_insn]) -> BTreeMap<usize, Subprogram> {
    let targets: Vec<(usize, usize)> =
        code.iter().enumerate().filter_map(|(at, instruction)| Some((at, target(at, instruction)?))).collect();
    let starts: BTreeSet<usize> = targets.iter().map(|(_, to)| *to).chain([0]).collect();
    starts
        .iter()
        .map(|start| {
            let end = starts.range(start + 1..).next().copied().unwrap_or(code.len());
            let calls = targets.iter().filter(|(at, _)| (*start..end).contains(at)).map(|(_, to)| *to).collect();
            (*start, Subprogram { frame: frame(&code[*start..end]), calls })
        })
        .collect()
}

/// Where a call to another function of the program, or a reference to one (a callback), leads.
fn target(at: usize, instruction: &bpf_insn) -> Option<usize> {
    const CALL: u8 = 0x85;
    const LOAD_64: u8 = 0x18;
    const PSEUDO_CALL: u8 = 1;
    const PSEUDO_FUNCTION: u8 = 4;
    match (instruction.code, instruction.src_reg()) {
        (CALL, PSEUDO_CALL) | (LOAD_64, PSEUDO_FUNCTION) => {
            Some((at as i64 + 1 + i64::from(instruction.imm)).try_into().expect("inside the program"))
        }
        _ => None,
    }
}

/// How far below the frame pointer a function reaches, bytes.
fn frame(code: &[bpf_insn]) -> u64 {
    const FRAME_POINTER: u8 = 10;
    const LOAD: u8 = 1;
    const STORE: u8 = 2;
    const STORE_REGISTER: u8 = 3;
    const MOVE: u8 = 0xbf;
    const ADD: u8 = 0x07;
    let mut deepest = 0;
    let mut reach = |offset: i64| deepest = deepest.max(offset.saturating_neg().max(0).unsigned_abs());
    for (at, instruction) in code.iter().enumerate() {
        let class = instruction.code & 7;
        let through = if class == LOAD { instruction.src_reg() } else { instruction.dst_reg() };
        if matches!(class, LOAD | STORE | STORE_REGISTER) && through == FRAME_POINTER {
            reach(i64::from(instruction.off));
        }
        if instruction.code == MOVE && instruction.src_reg() == FRAME_POINTER {
            let next = code.get(at + 1).filter(|next| next.code == ADD && next.dst_reg() == instruction.dst_reg());
            reach(next.map_or(0, |next| i64::from(next.imm)));
        }
    }
    deepest
}

fn deepest(all: &BTreeMap<usize, Subprogram>, start: usize, grain: u64) -> u64 {
    let Subprogram { frame, calls } = &all[&start];
    frame.next_multiple_of(grain) + calls.iter().map(|to| deepest(all, *to, grain)).max().unwrap_or(0)
}

#[test]
fn the_object_has_one_program() {
    let object = Object::parse(OBJECT).expect("the object is well-formed");
    assert_eq!(object.programs.keys().map(String::as_str).collect::<Vec<_>>(), [names::PROGRAM]);
    let maps: BTreeSet<&str> = object
        .maps
        .iter()
        .filter(|(_, map)| map.section_kind() == EbpfSectionKind::Maps)
        .map(|(name, _)| name.as_str())
        .collect();
    for name in names::MAPS {
        assert!(maps.contains(name), "the object has no map {name}: {maps:?}");
    }
}
