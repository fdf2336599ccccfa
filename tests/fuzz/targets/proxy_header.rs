//! A PROXY protocol header never takes a byte that is not its own, however it comes in pieces.

#![no_main]

use dunlin::transport::proxy_protocol::{Progress, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut have = 0;
    let header = loop {
        match parse(&data[..have]) {
            Ok(Progress::Needs(more)) => {
                assert!(more > 0);
                have += more;
                if have > data.len() {
                    return;
                }
            }
            Ok(Progress::Complete(header, length)) => {
                assert_eq!(length, have, "it asked for what it did not need");
                break Ok((header, length));
            }
            Err(error) => break Err(error),
        }
    };
    if let Ok((header, length)) = header {
        assert_eq!(parse(data), Ok(Progress::Complete(header, length)), "what follows does not matter");
        for end in 0..length {
            assert!(matches!(parse(&data[..end]), Ok(Progress::Needs(more)) if end + more <= length));
        }
    }
});
