using System;

namespace XenDM.PvBackends.XenBus;

/// <summary>A PV device cannot be served: the text says what a front end or a toolstack got wrong, or which host file failed.</summary>
public sealed class PvException(string message) : Exception(message);
