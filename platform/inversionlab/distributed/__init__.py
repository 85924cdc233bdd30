"""The pipeline on Ray: cluster, trainings on Ray Train, a pool of attack workers, the audit."""
