variable "name" {
  type = string
}

variable "cluster_arn" {
  type = string
}

variable "cpu" {
  type    = number
  default = 256
}

variable "memory" {
  type    = number
  default = 512
}

variable "desired_count" {
  type    = number
  default = 1
}

variable "container_definitions" {
  description = "The task's containers, by name"
  type = map(object({
    image                    = string
    essential                = optional(bool, true)
    command                  = optional(list(string))
    environment              = optional(list(object({ name = string, value = string })), [])
    secrets                  = optional(list(object({ name = string, valueFrom = string })), [])
    readonly_root_filesystem = optional(bool, false)
    port_mappings = optional(list(object({
      name          = optional(string)
      containerPort = number
      protocol      = optional(string, "tcp")
    })), [])
  }))
}

variable "load_balancer" {
  description = "Target groups that the tasks are registered with"
  type = map(object({
    target_group_arn = string
    container_name   = string
    container_port   = number
  }))
  default = {}
}

variable "vpc_id" {
  type = string
}

variable "subnet_ids" {
  type = list(string)
}

variable "assign_public_ip" {
  type    = bool
  default = false
}

variable "security_group_rules" {
  type = map(object({
    type                     = string
    from_port                = number
    to_port                  = number
    protocol                 = string
    cidr_blocks              = optional(list(string))
    source_security_group_id = optional(string)
  }))
  default = {}
}

variable "task_policy_statements" {
  description = "What the containers may do in AWS"
  type        = list(object({ actions = list(string), resources = list(string) }))
  default     = []
}

variable "log_retention_in_days" {
  type    = number
  default = 7
}

variable "tags" {
  type    = map(string)
  default = {}
}
