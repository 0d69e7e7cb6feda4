//! Runs the sensor in the lab.
