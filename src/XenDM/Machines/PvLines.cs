using System;
using System.Collections.Generic;
using XenDM.Backends.Char;
using XenDM.Core.Backends;
using XenDM.PvBackends.Console;
using XenDM.PvBackends.XenBus;

namespace XenDM.Machines;

/// <summary>
/// Lines of PV consoles. The node that names a line lies in the guest's folder of xenstore, so it cannot name files, sockets or host devices: those come
/// from the command line (<c>-chardev</c>), and a console leads to one of them or to a new pseudo-terminal.
/// </summary>
internal sealed class PvLines(CharBackendFactory chardevs) : IPvLines
{
    private const string Named = "chardev:";

    /// <summary>Of the command line, with a console attached at some time.</summary>
    private readonly HashSet<ICharBackend> _lent = [];
    private readonly HashSet<CharBackend> _made = [];

    public ICharBackend Open(string label, string output)
    {
        if (output.StartsWith(Named, StringComparison.Ordinal)) return Lend(output[Named.Length..]);
        try
        {
            // libxl names a screen of QEMU's (vc) where nobody asked for another place.
            var kind = output.StartsWith("vc", StringComparison.Ordinal) ? "null" : output;
            if (kind is not ("pty" or "null")) throw new PvException("output names no line: there are pty, null and chardev:ID");
            var line = chardevs.FromSerial(label, kind)!;
            _made.Add(line);
            return line;
        }
        catch (CharOpenException e)
        {
            throw new PvException(e.Message);
        }
    }

    public bool Close(ICharBackend line)
    {
        if (line is not CharBackend own || !_made.Remove(own)) return false;
        chardevs.Close(own);
        return true;
    }

    private CharBackend Lend(string id)
    {
        if (!chardevs.All.TryGetValue(id, out var line)) throw new PvException("output names a chardev that the command line does not have");
        if (!_lent.Contains(line) && line.IsAttached) throw new PvException($"chardev {line.Label} is used by a device or monitor");
        _lent.Add(line);
        return line;
    }
}
