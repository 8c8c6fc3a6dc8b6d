//! The stages: facts to the model, statuses and infra plans.
