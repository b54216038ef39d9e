//! Logs, traces, measurements; and what the client sets itself.

use crate::config::parameter::{Kind, Parameter, Status, Topic};

const LOG: Status = Status::NotSupported("messages go to standard error; CVMFS_LOG sets how many");
const NO_TRACER: Status = Status::NotSupported("there is no tracer of calls");
const NO_TELEMETRY: Status = Status::NotSupported("nothing is sent to a measurement server");

parameters! { Topic::Logging;
    SYSLOG_LEVEL "CVMFS_SYSLOG_LEVEL" Kind::Choice(&["0", "1", "2", "3"]), "Level of messages in the system log.".is(LOG);
    SYSLOG_FACILITY "CVMFS_SYSLOG_FACILITY" Kind::Choice(&["0", "1", "2", "3", "4", "5", "6", "7"]), "Facility in the system log.".is(LOG);
    SYSLOG_PREFIX "CVMFS_SYSLOG_PREFIX" Kind::Text, "Text before each message in the system log.".is(LOG);
    USYSLOG "CVMFS_USYSLOG" Kind::Path, "File for messages in place of the system log."
        .is(Status::Different("by cvmfs-mount only, which renames it to FILE.1 at 500 kB; other programs write to standard error"));
    DEBUGLOG "CVMFS_DEBUGLOG" Kind::Path, "File for debug messages.".is(LOG);
    TRACEFILE "CVMFS_TRACEFILE" Kind::Path, "File for the trace of calls.".is(NO_TRACER);
    TRACEBUFFER "CVMFS_TRACEBUFFER" Kind::Integer, "Entries of the trace buffer.".code("8192").is(NO_TRACER);
    TRACEBUFFER_THRESHOLD "CVMFS_TRACEBUFFER_THRESHOLD" Kind::Integer, "Entries at which the trace is written.".code("7000").is(NO_TRACER);
    INSTRUMENT_FUSE "CVMFS_INSTRUMENT_FUSE" Kind::Bool, "Measures the time of calls.".code("no").is(NO_TRACER);
    TELEMETRY_SEND "CVMFS_TELEMETRY_SEND" Kind::Bool, "Sends measurements.".code("no").is(NO_TELEMETRY);
    TELEMETRY_RATE "CVMFS_TELEMETRY_RATE" Kind::Seconds, "Time between two measurements, at least 5 s.".code("300").is(NO_TELEMETRY);
    INFLUX_HOST "CVMFS_INFLUX_HOST" Kind::Text, "Host that takes measurements.".is(NO_TELEMETRY);
    INFLUX_PORT "CVMFS_INFLUX_PORT" Kind::Integer, "Port of that host.".is(NO_TELEMETRY);
    INFLUX_METRIC_NAME "CVMFS_INFLUX_METRIC_NAME" Kind::Text, "Name of the measurement.".is(NO_TELEMETRY);
    INFLUX_EXTRA_TAGS "CVMFS_INFLUX_EXTRA_TAGS" Kind::Text, "Further tags of the measurement.".is(NO_TELEMETRY);
    INFLUX_EXTRA_FIELDS "CVMFS_INFLUX_EXTRA_FIELDS" Kind::Text, "Further fields of the measurement.".is(NO_TELEMETRY);
    TALK_SOCKET "CVMFS_TALK_SOCKET" Kind::Path, "Socket of the official control tool."
        .is(Status::NoEffect("there is no daemon to talk to; `cvmfs cache` and `cvmfs info` do these jobs"));
    TALK_OWNER "CVMFS_TALK_OWNER" Kind::Text, "Owner of that socket."
        .is(Status::NoEffect("there is no daemon to talk to; `cvmfs cache` and `cvmfs info` do these jobs"));
}

/// What the client sets itself.
pub(super) mod internal {
    use super::*;
    parameters! { Topic::Internal;
        FQRN "CVMFS_FQRN" Kind::Text, "Name of the repository, set before any file is read.";
        REPOSITORY_NAME "CVMFS_REPOSITORY_NAME" Kind::Text, "Name of the repository on publisher nodes."
            .is(Status::NoEffect("the name comes from the path or the command line"));
        ARCH "CVMFS_ARCH" Kind::Text, "Machine name such as x86_64, for variables in symbolic links.";
        VERSION "CVMFS_VERSION" Kind::Text, "Version of the official client whose behaviour is followed, for conditions in files.";
        VERSION_NUMERIC "CVMFS_VERSION_NUMERIC" Kind::Integer, "The same as one number, for comparisons.";
        LOG_FILTER "CVMFS_LOG" Kind::Text, "Which messages are written to standard error: error, warn, info, debug or trace.".is(Status::Ours);
    }
}
pub use internal::*;
