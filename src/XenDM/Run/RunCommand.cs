using System;
using XenDM.Hosting;

namespace XenDM.Run;

/// <summary><c>xendm run</c>: boots a guest on the embedded machine.</summary>
internal static class RunCommand
{
    internal const string Help = """
        xendm run: boots a guest on the embedded software machine - the same board and chips as on Xen, with no
        hypervisor and no privileges.

        Examples:
          xendm run --demo
          xendm run --kernel vmlinuz --initrd initrd.img --append console=ttyS0
          xendm run --disk guest.img --cdrom install.iso --memory 1G --cpus 4
          xendm run --disk guest.img,snapshot --serial pty --qmp /tmp/qmp
          xendm run --disk guest.img --net user,hostfwd=tcp::2222-:22,pcap=net.pcap
          xendm run --cdrom rescue.iso --boot d --display text

        What to boot:
          --demo                  a Linux from the distribution's packages, to a shell
          --kernel FILE           a Linux kernel, without a boot loader
            --initrd FILE         its initial ramdisk
            --append TEXT         its command line
          --disk FILE[,readonly][,snapshot][,pv[,strict]][,format=raw]
                                  an IDE disk, up to four; with snapshot the guest's writes are forgotten at the end,
                                  with pv the guest finds it as a PV disk too, with strict the IDE disk fails while it
                                  uses that one
          --cdrom FILE            a CD in the third IDE drive
          --net TO[,model=e1000|rtl8139|rtl8139c|none][,mac=ADDRESS][,pcap=FILE][,pv]
                                  a NIC whose cable leads to: user (NAT, with [,hostfwd=tcp::PORT-:PORT]... and what
                                  QEMU's user network takes), tap=INTERFACE, socket=listen:[HOST]:PORT,
                                  socket=connect:HOST:PORT, socket=mcast:ADDRESS:PORT, socket=unix:PATH; pcap writes a
                                  copy of the frames, pv adds a PV device; without this the guest has no NIC
          --boot ORDER            the letters c (disk), d (CD), n (network) in the order to try [cdn], or menu
          --firmware FILE         a BIOS image, or Xen's hvmloader; also the words seabios [default] and hvmloader

        The machine:
          --memory SIZE, -m SIZE  RAM, for example 64M or 2G [512M]
          --cpus N                vCPUs, 1 to 32 [1]
          --cpu MODEL             v3 [default], v2, v1 (levels of x86-64), i686 or 486
          --clock real|icount     time of the host [default], or a function of the instructions that ran
          --seed N                of the random numbers with --clock icount [0]
          --no-xen                a plain PC: the guest does not find Xen, with which its PV drivers would work
          --viridian LIST         Microsoft's hypervisor interface beside Xen's, for Windows: words of xl's viridian=
                                  (base, freq, time_ref_count, reference_tsc, synic, stimer), or defaults, or all
          --hvm-fep               Xen's prefix of forced emulation (UD2 and "xen"), which test frameworks ask for
          --no-reboot             end when the guest resets

        Where its lines lead:
          --serial TO             COM1, and when given again COM2 to COM4: stdio [default], pty, null, none (no such
                                  port), file:PATH, pipe:PATH, unix:PATH[,client], tcp:HOST:PORT[,client], /dev/...
          --console TO            the PV console, hvc0 in Linux, and when given again hvc1 to hvc7: as --serial [none]
          --pv-display            a framebuffer, keyboard and pointer for Xen's drivers, beside those of the PC
          --display none|text     nothing [default], or the text screen in this terminal; Ctrl-A there opens a menu
          --vnc HOST:DISPLAY[,...]
                                  a VNC server at port 5900 + DISPLAY, or unix:PATH, with what QEMU's -vnc takes: to=,
                                  password, websocket, tls-creds=, share=, lossy
          --keymap NAME, -k NAME  the keyboard's layout in the guest, for VNC clients that tell no key codes [en-us]
          --object TYPE,id=ID,... tls-creds-x509 or secret, for the VNC server
          --record-screen FILE    an animated PNG of what the screen shows
          --vga std|cirrus|none   the display adapter [std]
          --monitor stdio|PATH    the human monitor, here or at a Unix socket
          --qmp PATH              a Unix socket for QMP clients
          --web [[ADDRESS:]PORT]  the guest in a browser: starts xendm-web, at any free port of this host unless told
                                  otherwise, and prints the address
          --gdb [PORT|PATH]       wait for a debugger at a TCP port of this host [1234] or a Unix socket

        To look into it:
          --log                   say on standard error what the machine does
          --trace CHIP[,CHIP]     log every access to these chips
          --hash                  print a hash of memory, vCPUs and chips at the end
          --debug-exit [PORT]     a write to this port [0xf4] ends the process with status 2 * value + 1
          --test-device           ports and memory for test programs, at the addresses of QEMU's pc-testdev
          --help, -h              this text

        The status is 0 when the guest powers off, 1 after a mistake in the set-up or a crash of the guest.
        """;

    /// <returns>The status of the process.</returns>
    public static int Invoke(string[] arguments)
    {
        try
        {
            if (RunArguments.Parse(arguments) is not { } options)
            {
                Console.WriteLine(Help);
                return 0;
            }

            if (options.Demo) options = DemoAssets.Complete(options, static text => Console.Error.WriteLine($"xendm: {text}"));
            using var log = new ProcessLog(options.Log);
            using var web = options.Web is { } listen ? WebViewer.Start(listen) : null;
            if (web is not null)
            {
                options = options with { WebFolder = web.Folder };
                Console.Error.WriteLine($"xendm: the guest is shown at {web.Address}");
            }

            using var host = new EmbeddedHost(options, log);
            return host.Run();
        }
        catch (Exception e) when (Program.IsSetUpMistake(e))
        {
            Console.Error.WriteLine($"xendm: {e.Message}");
            return 1;
        }
    }
}
