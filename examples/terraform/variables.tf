variable "name" {
  description = "What everything is called"
  type        = string
  default     = "hello"
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
  type    = number
  default = 2
}

variable "sources" {
  description = "Where Roadstead's sources are, of which the sample app is part"
  type        = string
  default     = "../.."
}
