variable "name" {
  type = string
}

variable "cidr" {
  type = string
}

variable "azs" {
  description = "Availability zones; subnets are put into them in turn"
  type        = list(string)
}

variable "public_subnets" {
  description = "CIDR blocks of subnets that the internet reaches"
  type        = list(string)
  default     = []
}

variable "private_subnets" {
  description = "CIDR blocks of subnets that reach the internet at most"
  type        = list(string)
  default     = []
}

variable "enable_nat_gateway" {
  description = "Let private subnets reach the internet"
  type        = bool
  default     = false
}

variable "single_nat_gateway" {
  description = "One NAT gateway for all, instead of one for each private subnet"
  type        = bool
  default     = false
}

variable "tags" {
  type    = map(string)
  default = {}
}
