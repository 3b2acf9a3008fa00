//go:build !race

package sim

const (
	simServices = 200
	simSteps    = 600
	histories   = 100

	scaleInstances = 200
)
