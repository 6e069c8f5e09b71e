"""What needs TensorFlow (any release from 1.13 on), imported only when it is asked for.

The evaluation graph holds an operator that TensorFlow does not know, FixNeuron. In place of the
vendor's library::

    import dpuflow.tensorflow.fix_neuron as fix_neuron
    fix_neuron.register()                       # from here on import_graph_def takes FixNeurons
    tf.compat.v1.import_graph_def(graph_def, name="")

or, without touching TensorFlow, ``fix_neuron.import_evaluation_graph("quantize_eval_model.pb")``.
Every FixNeuron becomes standard operators that compute the same bits and keep its name. Graphs that
train with quantization: :mod:`dpuflow.tensorflow.training`.
"""
