//! The queue from outside: events in, deliveries and changes out.
