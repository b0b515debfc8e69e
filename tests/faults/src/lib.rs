//! Timeouts, full disks, little memory, prepared transactions and replication around postings.
