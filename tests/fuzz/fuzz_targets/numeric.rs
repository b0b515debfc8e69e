#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| neobank_fuzz::numeric(data));
