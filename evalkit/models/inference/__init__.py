"""Fast and exact passes: composed images, occlusion windows, perturbations; and the memory they need."""
