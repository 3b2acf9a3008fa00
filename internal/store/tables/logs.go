package tables

import (
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
)

// LogGroups holds CloudWatch Logs log groups by name.
var LogGroups = store.NewTable[model.LogGroup]("logs", "LogGroup")

// LogStreams holds log streams by model.LogStreamID.
var LogStreams = store.NewTable[model.LogStream]("logs", "LogStream")

// LogQueryDefinitions holds saved queries by their ids.
var LogQueryDefinitions = store.NewTable[model.LogQueryDefinition]("logs", "QueryDefinition")

// LogDeliverySources, LogDeliveryDestinations and LogDeliveries hold what logs
// of resources are delivered by.
var (
	LogDeliverySources      = store.NewTable[model.LogDeliverySource]("logs", "DeliverySource")
	LogDeliveryDestinations = store.NewTable[model.LogDeliveryDestination]("logs", "DeliveryDestination")
	LogDeliveries           = store.NewTable[model.LogDelivery]("logs", "Delivery")
)
