"""All of AWS apart from hosting: moto's services in this process, without what would harm or mislead there."""
