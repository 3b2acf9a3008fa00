output "url" {
  description = "Where the service answers"
  value       = "http://${aws_lb.this.dns_name}"
}

output "cluster" {
  value = aws_ecs_cluster.this.name
}

output "group" {
  description = "The Auto Scaling group of the cluster's instances"
  value       = aws_autoscaling_group.nodes.name
}
