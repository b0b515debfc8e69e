//! Random operations of every kind, a model that predicts their answers, and an auditor.
