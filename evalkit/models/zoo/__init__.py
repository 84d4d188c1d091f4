"""Loading of models: files, keras.applications, module:function, vgg16-mini."""
