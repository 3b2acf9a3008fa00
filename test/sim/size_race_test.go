//go:build race

package sim

// The race detector makes everything several times slower.
const (
	simServices = 60
	simSteps    = 200
	histories   = 20

	scaleInstances = 40
)
