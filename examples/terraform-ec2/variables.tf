variable "name" {
  description = "What everything is called"
  type        = string
  default     = "fleet"
}

variable "region" {
  type    = string
  default = "us-east-1"
}

variable "image_tag" {
  description = "The image's tag: a new one builds, pushes and deploys anew"
  type        = string
  default     = "v1"
}

variable "desired_count" {
  description = "How many tasks are wanted; the instances follow"
  type        = number
  default     = 4
}

variable "instance_type" {
  type    = string
  default = "t3.small"
}

variable "max_instances" {
  type    = number
  default = 4
}

variable "warmup" {
  description = "How many seconds a new instance is not counted"
  type        = number
  default     = 30
}

variable "sources" {
  description = "Where Roadstead's sources are, of which the sample app is part"
  type        = string
  default     = "../.."
}
